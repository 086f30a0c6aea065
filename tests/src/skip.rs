//! Named skips: what a suite needs and this machine lacks. A skip is counted and says why; it never looks like a pass.

use std::env;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::OnceLock;

use nix::unistd::geteuid;

use crate::net::xdp;
use crate::netns::Namespace;

/// Something a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root, for namespaces and programs.
    Root,
    /// `io_uring`, on which the daemon runs; many container runtimes forbid it.
    IoUring,
    /// Native XDP on veth.
    NativeXdp,
    /// The kernel's own tunnel devices.
    TunnelDevices,
    /// A command in `PATH`.
    Command(&'static str),
    /// A variable of the environment, by which somebody asks for what takes long.
    Asked(&'static str),
}

impl Need {
    /// Why the need is not met here; nothing if it is.
    #[must_use]
    pub fn lacking(self) -> Option<String> {
        match self {
            Self::Root => (!geteuid().is_root()).then(|| "not root".to_owned()),
            Self::IoUring => io_uring_refused().map(|why| format!("no io_uring: {why}")),
            Self::NativeXdp => native_xdp_refused().map(|why| format!("no native XDP on veth: {why}")),
            Self::TunnelDevices => tunnels_refused().map(|why| format!("no tunnel devices: {why}")),
            Self::Command(name) => (!in_path(name)).then(|| format!("command {name} is missing")),
            Self::Asked(name) => env::var_os(name).is_none().then(|| format!("{name} is not set")),
        }
    }
}

/// The first need that is not met, as a reason.
#[must_use]
pub fn missing(needs: &[Need]) -> Option<String> {
    needs.iter().find_map(|need| need.lacking())
}

/// An error that turns a running case into a skip.
#[derive(Debug)]
pub struct Skipped(pub String);

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skipped {}

fn in_path(name: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Asks the kernel for a ring of one entry.
#[expect(unsafe_code, reason = "no safe wrapper of io_uring_setup is among our dependencies")]
fn io_uring_refused() -> Option<std::io::Error> {
    // `struct io_uring_params` of linux/io_uring.h is 120 bytes, and all zero asks for nothing special.
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes the 120 bytes that `parameters` owns, and nothing else of ours.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring < 0 {
        return Some(std::io::Error::last_os_error());
    }
    // SAFETY: `ring` is a descriptor that we just got and nobody else knows.
    unsafe { libc::close(libc::c_int::try_from(ring).unwrap_or(-1)) };
    None
}

/// Tries, once per process, to attach a program natively to a veth.
fn native_xdp_refused() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let attempt = || {
        let namespace = Namespace::new("probe")?;
        namespace.veth("probe0", &namespace, "probe1")?;
        xdp::attach_pass(&namespace, "probe0")
    };
    ANSWER.get_or_init(|| attempt().err().map(|error| format!("{error:#}"))).clone()
}

/// Tries, once per process, to receive by tunnel devices.
fn tunnels_refused() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let attempt = || Namespace::new("probe")?.receive_tunnels(Ipv6Addr::LOCALHOST, PROBED_PORT);
    ANSWER.get_or_init(|| attempt().err().map(|error| format!("{error:#}"))).clone()
}

/// Any would do, in a namespace of its own.
const PROBED_PORT: u16 = 6080;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_named() {
        let reason = missing(&[Need::Command("sh"), Need::Command("no-such-command")]);
        assert_eq!(reason.as_deref(), Some("command no-such-command is missing"));
    }
}
