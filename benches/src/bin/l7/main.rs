//! What a request costs as a reverse proxy: `lb` by both transports beside nginx and `HAProxy`, each with one worker on one CPU.
//! Where it can do the work, a relay that only moves bytes is the floor below all of them.
//!
//! Method: `benches/README.md`. Needs root, for a namespace of its own, and Debian's `nginx haproxy wrk nghttp2-client openssl`.

mod clients;
mod memory;
mod proxies;
mod relay;
mod scene;
mod train;
mod work;

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lb_benches::machine::Machine;
use lb_benches::samples::Samples;
use proxies::{Peer, Proxy};
use scene::Scene;
use serde::Serialize;
use work::Work;

/// What a request costs, beside nginx and `HAProxy`.
#[derive(Parser)]
struct Arguments {
    /// Write the report as JSON here, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds to take the median of; in each, every proxy does every work once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Seconds that each proxy is measured for in a round, after one to warm up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Measure these alone, by name and with commas between.
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    only: Vec<String>,
    /// Requests a second of the work at a fixed rate.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(64..=200_000))]
    rate: u32,
    /// Measure this proxy, too; give it again for more. In its command, which is split at blanks and run in the foreground, stand
    /// for what it must use: `{http}` and `{https}` the ports, `{first}` and `{second}` the backends, and `{folder}` where
    /// `cert.pem`, `key.pem` and both in `both.pem` are.
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Peer>,
    /// Have `lb` do what it is compiled for, and measure nothing: `cargo xtask profile` counts what it does meanwhile.
    #[arg(long)]
    train: bool,
    /// Be the floor: this bench starts itself so.
    #[arg(long, hide = true)]
    floor: bool,
}

/// A work by a proxy in the report.
#[derive(Serialize)]
struct Row {
    work: &'static str,
    proxy: String,
    transport: &'static str,
    /// Microseconds of the proxy's CPU for each request; of `p99`, of latency; of `idle-memory`, KiB for each connection.
    cpu_us_per_request: f64,
    ratio_to_nginx: f64,
    rounds: usize,
    /// The least and the greatest.
    spread: [f64; 2],
    /// Requests a second, where they come as fast as they are answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_second: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// What was measured of a work by a proxy.
#[derive(Default)]
struct Measured {
    cost: Samples,
    per_second: Samples,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.floor {
        return relay::run();
    }
    let works = chosen(&arguments.only)?;
    // The proxy has the other CPU to itself.
    let machine = Machine::pinned()?;
    let scene = Scene::build(arguments.rate)?;
    if arguments.train {
        return train::run(&scene);
    }
    let peers = arguments.peer.iter().map(Proxy::Peer);
    let proxies: Vec<_> = Proxy::USUAL.into_iter().chain(peers).collect();
    let nothing = || proxies.iter().map(|_| Measured::default()).collect();
    let mut measured: Vec<Vec<Measured>> = works.iter().map(|_| nothing()).collect();
    let mut notes = Vec::new();
    for round in 0..arguments.rounds {
        for (work, measured) in works.iter().zip(&mut measured) {
            for turn in 0..proxies.len() {
                // Another goes first in each round.
                let place = (turn + round as usize) % proxies.len();
                let proxy = proxies[place];
                if !proxy.does(*work) {
                    continue;
                }
                match scene.measure(*work, proxy, arguments.seconds) {
                    Ok(sample) => {
                        eprintln!("{} {proxy}: {:.1}", work.name(), sample.cost);
                        measured[place].cost.push(sample.cost);
                        sample.per_second.into_iter().for_each(|rate| measured[place].per_second.push(rate));
                    }
                    Err(error) => notes.push(format!("{} {proxy}: {error:#}", work.name())),
                }
            }
        }
    }
    let of_all = works.iter().zip(&measured);
    let rows = of_all.flat_map(|(work, measured)| rows(*work, &proxies, measured)).collect();
    notes.dedup();
    let report = Report { machine, rows, notes };
    print!("{report}");
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(report.rows.iter().any(|row| row.proxy == "lb"), "nothing of ours was measured");
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Work>> {
    let known = Work::ALL.map(Work::name).join(", ");
    if names.is_empty() {
        return Ok(Work::ALL.to_vec());
    }
    let find = |name: &String| {
        let found = Work::ALL.into_iter().find(|work| work.name() == name);
        found.with_context(|| format!("no work is called `{name}`: there are {known}"))
    };
    names.iter().map(find).collect()
}

fn rows(work: Work, proxies: &[Proxy<'_>], measured: &[Measured]) -> Vec<Row> {
    let nginx = proxies.iter().position(|proxy| *proxy == Proxy::Nginx);
    let base = nginx.map_or(f64::NAN, |place| measured[place].cost.median());
    let row = |(proxy, Measured { cost, per_second }): (&Proxy<'_>, &Measured)| {
        (!cost.is_empty()).then(|| Row {
            work: work.name(),
            proxy: proxy.name().to_owned(),
            transport: proxy.transport(),
            cpu_us_per_request: cost.median(),
            ratio_to_nginx: cost.median() / base,
            rounds: cost.len(),
            spread: cost.spread(),
            per_second: (!per_second.is_empty()).then(|| per_second.median()),
        })
    };
    proxies.iter().zip(measured).filter_map(row).collect()
}

impl Display for Report {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Machine { kernel, cpu_model, cpus, pinned_to, .. } = &self.machine;
        writeln!(
            formatter,
            "Linux {kernel}, {cpu_model}, {cpus} CPUs, clients and backend on CPU {pinned_to}\n"
        )?;
        writeln!(
            formatter,
            "{:<14}{:<18}{:>10}{:>18}{:>9}{:>12}",
            "work", "proxy", "", "spread", "÷ nginx", "per second"
        )?;
        for row in &self.rows {
            let proxy = format!("{} {}", row.proxy, row.transport);
            let spread = format!("{:.1}–{:.1}", row.spread[0], row.spread[1]);
            let rate = row.per_second.map(|rate| format!("{rate:.0}")).unwrap_or_default();
            let (cost, unit) = (row.cpu_us_per_request, Work::unit_of(row.work));
            writeln!(
                formatter,
                "{:<14}{proxy:<18}{cost:>6.1} {unit:<3}{spread:>18}{:>9.2}{rate:>12}",
                row.work, row.ratio_to_nginx
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(formatter, "note: {note}"))
    }
}
