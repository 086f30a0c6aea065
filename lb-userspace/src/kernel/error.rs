//! What can go wrong at the kernel's border, by who can mend it, with what to try next.

use std::io;

/// Older ones refuse globals of more than 4 MiB, which the slots are.
/// Source: Linux, kernel/bpf/arraymap.c, "remove obsolete `KMALLOC_MAX_SIZE` restriction on array map value size".
const OLDEST_KERNEL: &str = "6.0";

/// The kernel programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operator must give rights.
    #[error(
        "loading the kernel programs is not permitted{}: run as root, or grant the capabilities \
         CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (inside a container the runtime must allow bpf as well)",
        lacking(.missing)
    )]
    Permission {
        /// The capabilities that are missing, as far as can be seen from here.
        missing: Vec<&'static str>,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The environment must give memory.
    #[error(
        "there is no memory for map `{map}`: lower `limits.flows`, raise the service's memory limit, \
         or, on kernels before 5.11, lift the limit on locked memory (`ulimit -l unlimited`, `LimitMEMLOCK=infinity`)"
    )]
    Memory {
        /// The map's name.
        map: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The operator must allow more open files.
    #[error(
        "there are no descriptors left for the kernel programs and their maps: {limit} files may be open, and some hundreds \
         are needed; raise the limit with `ulimit -n 65536`, or `LimitNOFILE=65536` in a unit of systemd's"
    )]
    Descriptors {
        /// How many may be open.
        limit: u64,
    },
    /// The kernel had no resources to spare while it was asked what it can do.
    #[error(
        "the kernel refused a trial program, for want of resources just then or because it is older than Linux 5.2; start \
         the daemon again"
    )]
    Starved,
    /// The operator must have listeners look for cookies.
    #[error(
        "`syn_cookies` needs listeners that take SYN cookies at any time, and `net.ipv4.tcp_syncookies` is {found}: run \
         `sysctl -w net.ipv4.tcp_syncookies=2`, or remove `syn_cookies`"
    )]
    CookiesRefused {
        /// What it is set to.
        found: String,
    },
    /// The kernel cannot make cookies, or not for programs.
    #[error(
        "`syn_cookies` needs Linux 6.0 or newer, with CONFIG_SYN_COOKIES: remove it, and `service_flows` still bounds a flood"
    )]
    NoCookies,
    /// The kernel's verifier turned a program down.
    #[error(
        "this kernel ({kernel}) refuses program `{program}`: {line}; Linux {OLDEST_KERNEL} or newer is needed, \
         and if this one is newer, please report the line"
    )]
    Verifier {
        /// The program's name.
        program: String,
        /// The release of the running kernel.
        kernel: String,
        /// The last line of the verifier's log that says something.
        line: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel lacks something, or refused for a reason of its own.
    #[error("this kernel ({kernel}) refuses to {operation}; Linux {OLDEST_KERNEL} or newer is needed")]
    Refused {
        /// What was asked of the kernel.
        operation: String,
        /// The release of the running kernel.
        kernel: String,
        /// The kernel's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// We built the object wrongly.
    #[error("the embedded kernel object lacks {what} `{name}`: daemon and object are of different builds")]
    Incomplete {
        /// Program or map.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// We built the object wrongly, or the kernel cannot take its kind.
    #[error("the embedded kernel object cannot be used")]
    Object(#[source] aya::EbpfError),
}

impl LoadError {
    pub(super) fn permission(source: io::Error) -> Self {
        Self::Permission { missing: super::rights::missing(), source }
    }
}

fn lacking(missing: &[&str]) -> String {
    if missing.is_empty() { String::new() } else { format!(" without {}", missing.join(", ")) }
}

/// A program could not be attached to an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The operator named an interface that is not there.
    #[error("there is no interface `{name}` in this network namespace; there are: {present}")]
    NoInterface {
        /// The name as given.
        name: String,
        /// The names there are.
        present: String,
    },
    /// Somebody else's program is there.
    #[error("`{interface}` already runs an XDP program: {occupant}")]
    Occupied {
        /// The interface.
        interface: String,
        /// Whose program it is and how to remove it.
        occupant: crate::kernel::occupant::Occupant,
    },
    /// Another daemon balances there, by a filter.
    #[error(
        "`{interface}` is taken already, at TC by a filter of process {process} ({name}); stop that process"
    )]
    Balanced {
        /// The interface.
        interface: String,
        /// The process's number.
        process: u32,
        /// Its name.
        name: String,
    },
    /// A killed daemon's filter cannot be taken away.
    #[error(
        "the filter that a killed daemon left on `{interface}` cannot be removed, and packets would still meet it; \
         `tc filter del dev {interface} ingress` removes it"
    )]
    Left {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: aya::programs::tc::TcError,
    },
    /// The programs could not read its frames.
    #[error(
        "`{interface}` carries no Ethernet frames (its link layer is {layer}), and the programs read nothing else: name an \
         Ethernet interface, such as the one that its packets come by from outside"
    )]
    NotEthernet {
        /// The interface.
        interface: String,
        /// What the kernel calls its link layer.
        layer: String,
    },
    /// The interface, its driver or the operator's rights do not allow it.
    #[error("cannot attach to `{interface}` in {mode} mode: {reason}")]
    Refused {
        /// The interface.
        interface: String,
        /// The mode asked for.
        mode: crate::kernel::AttachedMode,
        /// What the errno means here, and what to try.
        reason: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The program could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The interface could not be looked up.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} map `{map}`")]
pub struct TableError {
    /// Read, write, delete from, or walk through.
    pub operation: &'static str,
    /// The map's name.
    pub map: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Netlink could not be talked to.
#[derive(Debug, thiserror::Error)]
#[error("netlink: cannot {operation}")]
pub struct NetlinkError {
    /// What was asked.
    pub operation: &'static str,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl NetlinkError {
    pub(super) fn new(operation: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self { operation, source }
    }
}

/// The refusal for want of descriptors, if that is what is behind an error.
pub(super) fn short_of_descriptors(error: &(dyn std::error::Error + 'static)) -> Option<LoadError> {
    use nix::sys::resource::{Resource, getrlimit};
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    let is_short = causes.any(|cause| {
        let errno = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        errno == Some(libc::EMFILE)
    });
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    is_short.then_some(LoadError::Descriptors { limit })
}

/// The release of the running kernel, such as `6.1.0-18-amd64`.
pub(super) fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| "unknown".to_owned(), |name| name.release().to_string_lossy().into_owned())
}

/// The last line of a verifier log that says something: not empty, and not one of the closing statistics.
pub(super) fn parse_verifier_log(log: &str) -> &str {
    const STATISTICS: [&str; 5] =
        ["processed ", "verification time", "stack depth", "insns processed", "-- "];
    log.lines()
        .map(str::trim)
        .rev()
        .find(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
        .unwrap_or("it gave no reason")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_is_found_behind_other_errors_and_told_with_the_limit() {
        let errno = |errno| io::Error::from_raw_os_error(errno);
        let behind = |errno| NetlinkError { operation: "open a socket", source: errno };
        assert!(short_of_descriptors(&behind(errno(libc::EPERM))).is_none());
        let said = short_of_descriptors(&behind(errno(libc::EMFILE))).unwrap().to_string();
        assert!(said.contains("`ulimit -n 65536`") && !said.contains(OLDEST_KERNEL), "{said}");
    }

    #[test]
    fn the_verifiers_last_word_is_the_line_before_its_statistics() {
        let log = "12: (61) r1 = *(u32 *)(r2 +0)\nR2 invalid mem access 'scalar'\n\
                   verification time 98 usec\nstack depth 16\nprocessed 13 insns (limit 1000000)\n\n";
        assert_eq!(parse_verifier_log(log), "R2 invalid mem access 'scalar'");
        assert_eq!(parse_verifier_log("processed 0 insns\n"), "it gave no reason");
    }
}
