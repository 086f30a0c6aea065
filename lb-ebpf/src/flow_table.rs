//! The kernel's flow table, as [`FlowTable`]: how a packet finds, reserves and gives up a record.

use crate::flows::{self, Apart, FlowLines};
use crate::maps::{KernelTables, SEED, second};
use crate::route;
use aya_ebpf::Global;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use core::ops::{Deref, DerefMut};
use lb_common::abi::{Flow, FlowKey, InsertRate, Ip, Line, Ticks};
use lb_common::datapath::lines::{self, Lines};
use lb_common::datapath::{Arrival, FlowTable, Refused, Route};
use lb_common::wire::{U32be, ipv6};

/// Records inserted in this second.
#[btf_map]
static INSERT_RATE: PerCpuArray<InsertRate, 1> = PerCpuArray::new();
/// Records that one CPU may insert in a second; 0 means any number.
#[unsafe(no_mangle)]
static NEW_FLOWS: Global<u32> = Global::new(0);

/// Whether this CPU may insert another record in this second.
#[inline(always)]
fn admits(now: Ticks) -> bool {
    let limit = NEW_FLOWS.load();
    if limit == 0 {
        return true;
    }
    match INSERT_RATE.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, which nothing else writes while the program runs.
        Some(rate) => unsafe { (*rate).admits(now, second(), limit) },
        None => true,
    }
}

/// The record of a flow. What comes by the million looks itself, all else has it looked for; and so IPv6, whose keys take
/// so many registers that packets without a record would pay for them.
#[inline(always)]
fn record<'a, A: Apart, const OFTEN: bool>(key: &FlowKey<A>, hash: Option<u32>) -> Option<&'a mut Flow<A>>
where
    FlowLines: Lines<A>,
{
    let line = if OFTEN && A::VERSION == 4 {
        let hash = match hash {
            Some(hash) => hash,
            None => key.hash(SEED.load()),
        };
        lines::find(&FlowLines, key, hash)?
    } else {
        FlowLines.line(A::find(key)?)?
    };
    // SAFETY: a line stays its flow's until the program ends (see `lines`). Another CPU may write it at the same time;
    // every field is a plain number, and each is right by itself at any time.
    Some(unsafe { &mut *line.flow() })
}

/// Takes a flow out, if it is there.
#[inline(always)]
fn remove<A: Apart>(key: &FlowKey<A>)
where
    FlowLines: Lines<A>,
{
    if let Some(line) = A::find(key).and_then(|number| FlowLines.line(number)) {
        lines::take_out(line);
    }
}

/// A line that was reserved, as its record.
pub(crate) struct Reserved<'a, A>(&'a Line<A>);

impl<A: Ip> Deref for Reserved<'_, A> {
    type Target = Flow<A>;

    #[inline(always)]
    fn deref(&self) -> &Flow<A> {
        // SAFETY: nobody else writes the record of a line that was reserved here.
        unsafe { &*self.0.flow() }
    }
}

impl<A: Ip> DerefMut for Reserved<'_, A> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Flow<A> {
        // SAFETY: as above.
        unsafe { &mut *self.0.flow() }
    }
}

/// Reserves a line, if there may be one record more in this second.
#[inline(always)]
fn reserve<'a, A: Apart>(key: &FlowKey<A>, now: Ticks) -> Result<Reserved<'a, A>, Refused>
where
    FlowLines: Lines<A>,
{
    if !admits(now) {
        return Err(Refused::Guarded);
    }
    FlowLines.line(A::reserve(key)?).map(Reserved).ok_or(Refused::Full)
}

impl<const OFTEN: bool> FlowTable<U32be> for KernelTables<OFTEN> {
    type Record<'a>
        = &'a mut Flow<U32be>
    where
        Self: 'a;
    type Reserved<'a>
        = Reserved<'a, U32be>
    where
        Self: 'a;

    #[inline(always)]
    fn flow(&self, key: &FlowKey<U32be>) -> Option<Self::Record<'_>> {
        record::<_, OFTEN>(key, None)
    }

    #[inline(always)]
    fn flow_hashed(&self, key: &FlowKey<U32be>, hash: u32) -> Option<Self::Record<'_>> {
        record::<_, OFTEN>(key, Some(hash))
    }

    #[inline(always)]
    fn pause(&self) {
        flows::pause();
    }

    #[inline(always)]
    fn reserve(&self, key: &FlowKey<U32be>, now: Ticks) -> Result<Self::Reserved<'_>, Refused> {
        reserve(key, now)
    }

    #[inline(always)]
    fn publish(&self, reserved: Self::Reserved<'_>) {
        reserved.0.publish();
    }

    #[inline(always)]
    fn remove(&self, key: &FlowKey<U32be>) {
        remove(key);
    }

    #[inline(always)]
    fn route(&self, key: &FlowKey<U32be>, bytes: u32, arrival: Arrival) -> Route {
        route::v4(self.ctx, key, bytes, arrival)
    }
}

impl<const OFTEN: bool> FlowTable<ipv6::Address> for KernelTables<OFTEN> {
    type Record<'a>
        = &'a mut Flow<ipv6::Address>
    where
        Self: 'a;
    type Reserved<'a>
        = Reserved<'a, ipv6::Address>
    where
        Self: 'a;

    #[inline(always)]
    fn flow(&self, key: &FlowKey<ipv6::Address>) -> Option<Self::Record<'_>> {
        record::<_, OFTEN>(key, None)
    }

    #[inline(always)]
    fn flow_hashed(&self, key: &FlowKey<ipv6::Address>, hash: u32) -> Option<Self::Record<'_>> {
        record::<_, OFTEN>(key, Some(hash))
    }

    #[inline(always)]
    fn pause(&self) {
        flows::pause();
    }

    #[inline(always)]
    fn reserve(&self, key: &FlowKey<ipv6::Address>, now: Ticks) -> Result<Self::Reserved<'_>, Refused> {
        reserve(key, now)
    }

    #[inline(always)]
    fn publish(&self, reserved: Self::Reserved<'_>) {
        reserved.0.publish();
    }

    #[inline(always)]
    fn remove(&self, key: &FlowKey<ipv6::Address>) {
        remove(key);
    }

    #[inline(always)]
    fn route(&self, key: &FlowKey<ipv6::Address>, bytes: u32, arrival: Arrival) -> Route {
        route::v6(self.ctx, key, bytes, arrival)
    }
}
