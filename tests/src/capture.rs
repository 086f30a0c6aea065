//! `lb-userspace capture` under test: the running program, and the file it writes, taken apart.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::daemon::{Daemon, binary};
use crate::process::Process;
use crate::sweep;

/// How long a capture may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// A capture in progress, into a file of its own. Killed on drop.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    scratch: TempDir,
}

impl Capture {
    /// Starts one with these options, and waits until the daemon says that it goes on.
    pub fn start(daemon: &Daemon, options: &[&str]) -> Result<Self> {
        let mut capture = Self::launch(daemon, options)?;
        let deadline = Instant::now() + PATIENCE;
        while !capture.said().contains("capturing") {
            ensure!(capture.process.ended()?.is_none(), "the capture ended: {}", capture.said());
            ensure!(Instant::now() < deadline, "no capture after {PATIENCE:?}: {}", capture.said());
            thread::sleep(LOOK);
        }
        Ok(capture)
    }

    fn launch(daemon: &Daemon, options: &[&str]) -> Result<Self> {
        let scratch = sweep::scratch_directory()?;
        let said = File::create(scratch.path().join("said")).context("making the capture's log")?;
        let mut command = Command::new(binary());
        command.arg("capture").args(options).arg("--control").arg(daemon.control_path());
        command.arg("-w").arg(scratch.path().join("file")).stderr(said);
        Ok(Self { process: Process::spawn(command)?, scratch })
    }

    /// What it told people.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.scratch.path().join("said")).unwrap_or_default()
    }

    /// Where its file is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.scratch.path().join("file")
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait(PATIENCE)
    }

    /// Waits until it ends by itself and well; gives what is in its file.
    pub fn finish(&mut self) -> Result<Vec<Shown>> {
        let status = self.wait()?;
        ensure!(status.success(), "the capture gave {status}: {}", self.said());
        self.packets()
    }

    /// Kills it as a crash would, and gives what it wrote until then.
    pub fn kill(self) -> Result<Vec<Shown>> {
        let Self { process, scratch } = self;
        process.kill()?;
        read(&fs::read(scratch.path().join("file")).context("reading the capture")?)
    }

    /// The packets that came by and those of them that were missed, as it told in the end.
    pub fn totals(&self) -> Result<(u64, u64)> {
        let said = self.said();
        let told = said.lines().last().unwrap_or_default();
        let mut numbers = told.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        let wanted = numbers.next().with_context(|| format!("no number in: {said}"))?;
        Ok((wanted, numbers.next().unwrap_or(0)))
    }

    /// What is in its file by now.
    pub fn packets(&self) -> Result<Vec<Shown>> {
        read(&fs::read(self.file()).context("reading the capture")?)
    }
}

/// A packet of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The interface's name.
    pub interface: String,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    /// Bytes it had.
    pub length: usize,
    /// Those that were kept.
    pub bytes: Vec<u8>,
    /// What became of it.
    pub comment: String,
}

impl Shown {
    /// Whether the comment has this `key=value`.
    #[must_use]
    pub fn says(&self, pair: &str) -> bool {
        self.comment.split(' ').any(|word| word == pair)
    }

    /// Whether these bytes are somewhere in it.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.bytes.windows(bytes.len()).any(|window| window == bytes)
    }
}

const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const SECTION: u32 = 0x0a0d_0d0a;
/// Options' numbers.
const COMMENT: u32 = 1;
const NAME: u32 = 2;

/// Takes a little-endian pcapng file apart. Source: draft-ietf-opsawg-pcapng, section 4.
fn read(mut file: &[u8]) -> Result<Vec<Shown>> {
    let (mut interfaces, mut packets) = (Vec::new(), Vec::new());
    while !file.is_empty() {
        let length = usize::try_from(word(file, 4)?)?;
        let body = file.get(8..length - 4).context("half a block")?;
        match word(file, 0)? {
            SECTION => ensure!(word(body, 0)? == 0x1a2b_3c4d, "another order of bytes"),
            INTERFACE => interfaces.push(option(body.get(8..), NAME)?),
            PACKET => packets.push(packet(body, &interfaces)?),
            kind => bail!("a block of kind {kind}"),
        }
        file = file.get(length..).context("half a block")?;
    }
    Ok(packets)
}

fn packet(body: &[u8], interfaces: &[String]) -> Result<Shown> {
    let kept = usize::try_from(word(body, 12)?)?;
    let number = usize::try_from(word(body, 0)?)?;
    Ok(Shown {
        interface: interfaces.get(number).context("an interface that was not described")?.clone(),
        at_ns: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
        length: usize::try_from(word(body, 16)?)?,
        bytes: body.get(20..20 + kept).context("half a packet")?.to_vec(),
        comment: option(body.get(20 + kept.next_multiple_of(4)..), COMMENT)?,
    })
}

/// The text of the first option with this number.
fn option(options: Option<&[u8]>, number: u32) -> Result<String> {
    let mut rest = options.context("no options")?;
    loop {
        let head = word(rest, 0)?;
        ensure!(head & 0xffff != 0, "no option {number}");
        let length = usize::try_from(head >> 16)?;
        if head & 0xffff == number {
            let text = rest.get(4..4 + length).context("half an option")?;
            return Ok(String::from_utf8(text.to_vec())?);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..).context("half an option")?;
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let word = bytes.get(at..at + 4).context("the file ends early")?;
    Ok(u32::from_le_bytes(word.try_into()?))
}
