//! A worker's part of the log: buffers that lines are written into, and handed on in batches.

use super::time::Moment;
use super::{Batch, Closing, Note, Plan, Queue};
use crate::config::proxy::LogTarget;
use crate::l7::tally::WorkerCounts;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of lines that are handed on at once; a line may go beyond.
const BATCH: usize = 32 << 10;
/// Room for a batch and the line that makes it one.
const ROOM: usize = BATCH + 4096;
/// Notes that are kept for the next requests.
const SPARES: usize = 256;

/// Where a worker writes its lines.
#[derive(Debug)]
pub struct Desk {
    queue: Queue,
    open: RefCell<Vec<Batch>>,
    #[allow(
        clippy::vec_box,
        reason = "an account holds its note by a pointer, and gives back that very one"
    )]
    spares: RefCell<Vec<Box<Note>>>,
    moment: RefCell<Moment>,
    seen: Cell<u32>,
}

impl Desk {
    /// A desk whose batches go this way.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            open: RefCell::default(),
            spares: RefCell::default(),
            moment: RefCell::default(),
            seen: Cell::new(0),
        }
    }

    /// A note to write on.
    pub fn blank(&self) -> Box<Note> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a note back that is not needed any more.
    pub fn give_back(&self, note: Option<Box<Note>>) {
        let mut spares = self.spares.borrow_mut();
        if spares.len() < SPARES {
            spares.extend(note);
        }
    }

    /// Writes an exchange's line, if it is one of those that are logged.
    pub fn enter(&self, plan: &Plan, closing: &Closing<'_>, counts: &WorkerCounts) {
        if !self.is_chosen(plan, closing.status) {
            return;
        }
        let mut moment = self.moment.borrow_mut();
        moment.set(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let mut open = self.open.borrow_mut();
        let Some(batch) = batch_of(&mut open, &plan.target) else { return };
        closing.write(&plan.config.format, &moment, &mut batch.bytes);
        batch.lines += 1;
        if batch.bytes.len() >= BATCH {
            self.hand_on(batch, counts);
        }
    }

    /// One in so many, and as a rule all that are the proxy's or a backend's failure.
    fn is_chosen(&self, plan: &Plan, status: u16) -> bool {
        if plan.config.all_errors && status >= 500 {
            return true;
        }
        let seen = self.seen.get().wrapping_add(1);
        self.seen.set(seen);
        seen.is_multiple_of(plan.config.sample)
    }

    /// Hands on what there is, so that a line does not wait for others.
    pub fn flush(&self, counts: &WorkerCounts) {
        for batch in self.open.borrow_mut().iter_mut().filter(|batch| batch.lines > 0) {
            self.hand_on(batch, counts);
        }
    }

    fn hand_on(&self, batch: &mut Batch, counts: &WorkerCounts) {
        let next = Batch { target: Arc::clone(&batch.target), bytes: Vec::with_capacity(ROOM), lines: 0 };
        let full = std::mem::replace(batch, next);
        let lines = full.lines;
        let count = if self.queue.put(full) { &counts.lines } else { &counts.lines_lost };
        count.add(lines);
    }
}

/// The batch for a target, begun if there is none.
fn batch_of<'a>(open: &'a mut Vec<Batch>, target: &Arc<LogTarget>) -> Option<&'a mut Batch> {
    let found = open.iter().position(|batch| batch.target == *target);
    let at = found.unwrap_or_else(|| {
        open.push(Batch { target: Arc::clone(target), bytes: Vec::with_capacity(ROOM), lines: 0 });
        open.len() - 1
    });
    open.get_mut(at)
}
