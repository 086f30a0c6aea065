//! The rounds: every program once a round, so that whatever slows the machine down for a while slows all of them.

use crate::alone::Alone;
use crate::wrapper::{Expected, PACKETS_A_RUN, Tally, Wrapper};
use anyhow::{Context, Result, bail, ensure};
use lb_benches::samples::Samples;
use lb_common::abi::Count;
use lb_common::datapath::Reason;
use lb_userspace::kernel::Tables;

/// What a case is in the report.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The least a program can do.
    Floor,
    /// A path of the balancer.
    Path {
        /// The floor it is compared with.
        floor: &'static str,
        /// What the balancer must count its packets under.
        reason: Reason,
    },
}

/// A program and how it is run.
pub(crate) struct Case {
    name: &'static str,
    kind: Kind,
    runner: Runner,
    repeat: u32,
    samples: Samples,
}

/// How a program is run.
pub(crate) enum Runner {
    /// Again and again in a wrapper.
    Wrapped(Wrapper),
    /// Once a call.
    Alone(Alone),
}

impl From<Wrapper> for Runner {
    fn from(wrapper: Wrapper) -> Self {
        Self::Wrapped(wrapper)
    }
}

impl From<Alone> for Runner {
    fn from(alone: Alone) -> Self {
        Self::Alone(alone)
    }
}

impl Runner {
    /// Nanoseconds a packet; what runs alone does so as often as it always does.
    fn run(&mut self, repeat: u32) -> Result<f64> {
        match self {
            Self::Wrapped(wrapper) => wrapper.run(repeat),
            Self::Alone(alone) => alone.run(),
        }
    }

    fn tally(&self) -> Result<Tally> {
        match self {
            Self::Wrapped(wrapper) => wrapper.tally(),
            Self::Alone(alone) => Ok(alone.tally()),
        }
    }
}

/// What was measured of a case.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) samples: Samples,
    pub(crate) packets: u64,
    pub(crate) expected: u64,
}

/// All rows, floors first.
pub(crate) struct Measured(pub(crate) Vec<Row>);

/// Runs of the first, untimed round.
const WARM_UP: u32 = 50_000;

impl Case {
    pub(crate) fn new(name: &'static str, kind: Kind, runner: impl Into<Runner>) -> Self {
        Self { name, kind, runner: runner.into(), repeat: WARM_UP, samples: Samples::default() }
    }

    /// Its name in the report.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Warms caches up and finds how many runs last `sample_ms`.
    fn warm_up(&mut self, sample_ms: u32) -> Result<()> {
        let run_ns = self.runner.run(WARM_UP)? * f64::from(PACKETS_A_RUN);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of runs")]
        let repeat = (f64::from(sample_ms) * 1e6 / run_ns) as u32;
        self.repeat = repeat.max(1000);
        Ok(())
    }

    fn sample(&mut self) -> Result<()> {
        let sample = self.runner.run(self.repeat)?;
        self.samples.push(sample);
        Ok(())
    }

    fn row(self) -> Result<Row> {
        let Self { name, kind, runner, samples, .. } = self;
        let tally = runner.tally()?;
        if let Some(Expected { action, growth }) = tally.oddity {
            bail!("{name}: a packet came out with code {action}, grown by {growth} bytes");
        }
        Ok(Row { name, kind, samples, packets: tally.packets, expected: tally.expected })
    }
}

/// Measures all cases, and holds the balancer's own counters against the wrappers'.
pub(crate) fn rounds(
    cases: &mut Vec<Case>,
    tables: &Tables,
    rounds: u32,
    sample_ms: u32,
) -> Result<Measured> {
    let before = tables.reasons();
    for case in cases.iter_mut() {
        case.warm_up(sample_ms).with_context(|| case.name)?;
    }
    for _ in 0..rounds {
        for case in cases.iter_mut() {
            case.sample().with_context(|| case.name)?;
        }
    }
    let rows = cases.drain(..).map(Case::row).collect::<Result<Vec<_>>>()?;
    check_reasons(&rows, &before, &tables.reasons())?;
    Ok(Measured(rows))
}

/// Every packet of every path must stand under its reason: a right length alone could come from a wrong path.
fn check_reasons(rows: &[Row], before: &[Count], after: &[Count]) -> Result<()> {
    for (reason, (before, after)) in Reason::ALL.iter().zip(before.iter().zip(after)) {
        let of_reason = rows.iter().filter(|row| row.reason() == Some(*reason));
        let expected: u64 = of_reason.map(|row| row.packets).sum();
        let counted = after.packets - before.packets;
        let label = reason.label();
        ensure!(counted == expected, "{counted} packets were counted as {label}, not {expected}");
    }
    Ok(())
}

impl Row {
    fn reason(&self) -> Option<Reason> {
        match self.kind {
            Kind::Floor => None,
            Kind::Path { reason, .. } => Some(reason),
        }
    }
}
