//! What SYN cookies need of this host, asked before the programs that send them are loaded.

use super::LoadError;
use std::fs;

/// Whether listeners take cookies. Each network namespace has its own.
/// Source: Linux, Documentation/networking/ip-sysctl.rst.
const SWITCH: &str = "/proc/sys/net/ipv4/tcp_syncookies";
/// At any time, not only while their queues are full: they stay empty, since what would fill them is answered before.
const ALWAYS: &str = "2";

/// Refuses unless listeners take cookies at any time.
pub(super) fn ask_for() -> Result<(), LoadError> {
    judge(fs::read_to_string(SWITCH).ok().as_deref())
}

fn judge(found: Option<&str>) -> Result<(), LoadError> {
    match found.map(str::trim) {
        Some(ALWAYS) => Ok(()),
        Some(found) => Err(LoadError::CookiesRefused { found: found.to_owned() }),
        None => Err(LoadError::NoCookies),
    }
}

/// Explains a kernel that has no such helper functions.
pub(super) fn explain(error: LoadError) -> LoadError {
    match error {
        LoadError::Verifier { line, .. } if line.contains(UNKNOWN) => LoadError::NoCookies,
        other => other,
    }
}

/// What the verifier says of a function that it does not know.
const UNKNOWN: &str = "unknown func";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_must_take_cookies_at_any_time() {
        assert!(judge(Some("2\n")).is_ok());
        let refused = judge(Some("1\n")).unwrap_err().to_string();
        assert!(refused.contains("`sysctl -w net.ipv4.tcp_syncookies=2`"), "{refused}");
        assert!(matches!(judge(None), Err(LoadError::NoCookies)));
    }

    #[test]
    fn a_kernel_without_the_functions_is_named() {
        let refusal = |line: &str| LoadError::Verifier {
            program: "lb_cookie4".to_owned(),
            kernel: "5.15".to_owned(),
            line: line.to_owned(),
            source: std::io::Error::from_raw_os_error(22),
        };
        let of = |line| explain(refusal(line));
        assert!(matches!(of("invalid func unknown func#204"), LoadError::NoCookies));
        assert!(matches!(of("unknown func bpf_tcp_raw_gen_syncookie_ipv4#204"), LoadError::NoCookies));
        assert!(matches!(of("R1 !read_ok"), LoadError::Verifier { .. }));
    }
}
