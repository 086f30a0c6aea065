//! `lb-userspace capture`: shows packets of the running balancer with what became of them, as lines or as a file.

mod line;
mod pcapng;

use crate::config::parse_duration;
use crate::control::{CaptureOrder, CapturedPacket, Peer, Request, Response, client};
use clap::Args;
use clap::builder::PossibleValuesParser;
use lb_common::datapath::Reason;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to capture, and where to.
#[derive(Debug, Args)]
pub struct Options {
    /// Only packets with this reason; give it again for more
    #[arg(long = "reason", value_name = "REASON", value_parser = labels(), hide_possible_values = true)]
    pub reasons: Vec<String>,
    /// Only packets of this service
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Only packets from this address and port, as they leave or inside an outer header
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub from: Option<Peer>,
    /// Only packets to this address and port
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub to: Option<Peer>,
    /// End after so many packets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so long, such as `10s`
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// Write a pcapng file, or with `-` to the standard output; without it, a line a packet
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

fn labels() -> PossibleValuesParser {
    PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.label()))
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .ok_or_else(|| "expected a number and a unit, as in `500ms`, `10s` or `5m`".to_owned())
}

/// Why a capture ended too early, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon cannot be talked to.
    #[error(transparent)]
    Control(#[from] client::Error),
    /// The daemon would not.
    #[error("{0}")]
    Refused(String),
    /// What was captured cannot be written.
    #[error("cannot write what was captured to {place}")]
    Write {
        /// The file.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon stopped while packets were captured.
    #[error(
        "the daemon broke off the capture: it has ended, or its packets waited here for too long; let what reads them keep up, or \
         ask for fewer"
    )]
    BrokeOff,
    /// An answer to something else.
    #[error("the daemon gave another answer than packets; is it of this version?")]
    Strange,
}

/// Captures until the daemon says that it was enough, or whoever reads has gone.
pub fn run(options: Options, control: &Path) -> Result<(), Error> {
    let Options { reasons, service, from, to, count, time, file } = options;
    let order = CaptureOrder { reasons, service, from, to, count, time };
    let place = file.as_deref().map_or("the standard output".to_owned(), |path| path.display().to_string());
    let mut answers = client::follow(control, &Request::Capture(order))?;
    let (snap, interfaces) = begun(answers.next().ok_or(Error::BrokeOff)??)?;
    let unwritten = |source| Error::Write { place: place.clone(), source };
    let mut sink = Sink::open(file.as_deref(), snap, &interfaces).map_err(unwritten)?;
    say("capturing; Ctrl-C ends it");
    for answer in answers {
        match answer? {
            Response::Packet(packet) => match sink.write(&packet) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(unwritten)?,
            },
            other => return ended(other),
        }
    }
    Err(Error::BrokeOff)
}

/// Bytes that are kept of each packet, and the interfaces that they come by.
fn begun(answer: Response) -> Result<(u32, Vec<String>), Error> {
    match answer {
        Response::Capturing { snap, interfaces } => Ok((snap, interfaces)),
        Response::Refused { message } => Err(Error::Refused(message)),
        _ => Err(Error::Strange),
    }
}

fn ended(answer: Response) -> Result<(), Error> {
    match answer {
        Response::Captured { wanted, missed } => {
            say(&summary(wanted, missed));
            Ok(())
        }
        Response::Refused { message } => Err(Error::Refused(message)),
        _ => Err(Error::Strange),
    }
}

/// Tells whoever watches, if anybody does.
fn say(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn summary(wanted: u64, missed: u64) -> String {
    match missed {
        0 => format!("{wanted} packets came by, and none was missed"),
        _ => format!(
            "{wanted} packets came by, {missed} of them above the rate (`capture.rate`) or unread in time"
        ),
    }
}

/// Where packets go.
enum Sink {
    Lines(io::Stdout),
    File(pcapng::Writer<Box<dyn Write>>),
}

impl Sink {
    fn open(file: Option<&Path>, snap: u32, interfaces: &[String]) -> io::Result<Self> {
        let out: Box<dyn Write> = match file {
            None => return Ok(Self::Lines(io::stdout())),
            Some(path) if path == Path::new("-") => Box::new(io::stdout()),
            Some(path) => Box::new(create(path)?),
        };
        pcapng::Writer::begin(out, snap, interfaces).map(Self::File)
    }

    /// Each packet is out before the next comes, so that a capture that is killed leaves a whole file.
    fn write(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        match self {
            Self::Lines(out) => writeln!(out, "{}", line::render(packet)).and_then(|()| out.flush()),
            Self::File(writer) => writer.write(packet),
        }
    }
}

/// A file for its owner alone: packets are nobody else's business.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_in_the_daemon_s_words_and_a_strange_answer_is_said_to_be_one() {
        let refused = || Response::Refused { message: "captures are switched off".to_owned() };
        assert_eq!(begun(refused()).unwrap_err().to_string(), "captures are switched off");
        assert_eq!(ended(refused()).unwrap_err().to_string(), "captures are switched off");
        assert!(matches!(begun(Response::Captured { wanted: 0, missed: 0 }), Err(Error::Strange)));
        let begins = Response::Capturing { snap: 96, interfaces: vec!["eth0".to_owned()] };
        assert_eq!(begun(begins).unwrap(), (96, vec!["eth0".to_owned()]));
    }

    #[test]
    fn what_was_missed_is_told_with_the_key_that_mends_it() {
        assert_eq!(summary(3, 0), "3 packets came by, and none was missed");
        assert!(summary(9, 2).contains("2 of them above the rate (`capture.rate`)"));
    }

    #[test]
    fn a_file_is_for_its_owner_and_replaces_what_was_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packets");
        create(&path).unwrap().write_all(b"longer than the second").unwrap();
        create(&path).unwrap().write_all(b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
