//! The report: a table for people, JSON for programs.

use crate::change::ChangeRow;
use crate::measure::{Kind, Measured, Row};
use crate::verifier::ProgramFacts;
use lb_benches::machine::Machine;
use serde::{Serialize, Serializer};
use std::fmt;

/// Everything one run of the bench found.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rows: Vec<PathRow>,
    floors: Vec<FloorRow>,
    changes: Vec<ChangeRow>,
    programs: Vec<ProgramFacts>,
}

/// A path beside its floor.
#[derive(Serialize)]
struct PathRow {
    path: &'static str,
    #[serde(serialize_with = "two_decimals")]
    ns: f64,
    floor: &'static str,
    #[serde(serialize_with = "two_decimals")]
    floor_ns: f64,
    #[serde(serialize_with = "two_decimals")]
    ratio: f64,
    /// Least and greatest of the rounds.
    spread_ns: [f64; 2],
    /// What the balancer counted the packets under.
    reason: &'static str,
    packets: u64,
    /// Those that came out with the right code, length and reason; for a path that passes, those that passed.
    forwarded: u64,
}

#[derive(Serialize)]
struct FloorRow {
    name: &'static str,
    #[serde(serialize_with = "two_decimals")]
    ns: f64,
    spread_ns: [f64; 2],
    packets: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn two_decimals<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 100.0).round() / 100.0)
}

impl Report {
    /// Puts the rows beside their floors.
    pub(crate) fn new(
        machine: Machine,
        measured: &Measured,
        change: ChangeRow,
        programs: Vec<ProgramFacts>,
    ) -> Self {
        let floors: Vec<_> = measured.0.iter().filter_map(FloorRow::new).collect();
        let rows = measured.0.iter().filter_map(|row| PathRow::new(row, &floors)).collect();
        Self { machine, rows, floors, changes: vec![change], programs }
    }
}

impl FloorRow {
    fn new(row: &Row) -> Option<Self> {
        let Kind::Floor = row.kind else { return None };
        let samples = &row.samples;
        Some(Self { name: row.name, ns: samples.median(), spread_ns: samples.spread(), packets: row.packets })
    }
}

impl PathRow {
    fn new(row: &Row, floors: &[FloorRow]) -> Option<Self> {
        let Kind::Path { floor, reason } = row.kind else { return None };
        let ns = row.samples.median();
        let floor_ns = floors.iter().find(|row| row.name == floor).map_or(f64::NAN, |row| row.ns);
        Some(Self {
            path: row.name,
            ns,
            floor,
            floor_ns,
            ratio: ns / floor_ns,
            spread_ns: row.samples.spread(),
            reason: reason.label(),
            packets: row.packets,
            forwarded: row.expected,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { kernel, cpu_model, cpus, pinned_to, .. } = &self.machine;
        writeln!(f, "Linux {kernel}, {cpu_model}, {cpus} CPUs, pinned to CPU {pinned_to}\n")?;
        writeln!(
            f,
            "{:<34} {:>6} {:>13}  {:<11} {:>6} {:>6} {:>14}",
            "path", "ns", "spread", "floor", "ns", "ratio", "forwarded"
        )?;
        for row in &self.rows {
            row.fmt(f)?;
        }
        writeln!(f, "\n{:<34} {:>6} {:>13}", "floor", "ns", "spread")?;
        for FloorRow { name, ns, spread_ns: [least, most], .. } in &self.floors {
            writeln!(f, "{name:<34} {ns:>6.1} {:>13}", format!("{least:.1}–{most:.1}"))?;
        }
        writeln!(f, "\n{:<34} {:>6} {:>13}", "change", "ms", "spread")?;
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        writeln!(f, "\n{:<34} {:>12} {:>12} {:>12}", "program", "verified", "stack", "jitted")?;
        for program in &self.programs {
            let verified =
                program.verified_instructions.map_or_else(|| "?".to_owned(), |count| count.to_string());
            let (stack, jitted) = (program.stack_depth, program.jitted_bytes);
            writeln!(f, "{:<34} {verified:>12} {stack:>10} B {jitted:>10} B", program.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for PathRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, ns, floor, floor_ns, ratio, spread_ns: [least, most], packets, forwarded, .. } =
            self;
        let spread = format!("{least:.1}–{most:.1}");
        let all = if packets == forwarded { "all" } else { "NOT ALL" };
        let of = format!("{all} {packets}");
        writeln!(f, "{path:<34} {ns:>6.1} {spread:>13}  {floor:<11} {floor_ns:>6.1} {ratio:>6.2} {of:>14}")
    }
}
