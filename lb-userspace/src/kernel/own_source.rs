//! Whether the kernel takes packets that come to this host from one of its own addresses.
//!
//! By IPv4 it drops them, as martians, unless `accept_local` is set for the interface or for all.
//! Source: Linux, `fib_validate_source` in `net/ipv4/fib_frontend.c`; Documentation/networking/ip-sysctl.rst.

use nix::ifaddrs::getifaddrs;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// The settings of all interfaces, a folder each. Each network namespace has its own.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// Those of these addresses from which packets are dropped. None if packets may come from them by some interface: which it is
/// that they come by is not for us to say.
#[must_use]
pub fn refused(sources: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
    if sources.is_empty() || is_accepted(Path::new(SETTINGS)) { BTreeSet::new() } else { sources & &own() }
}

/// Whether some interface takes them. What `default` says holds for those to come only.
fn is_accepted(settings: &Path) -> bool {
    let Ok(interfaces) = fs::read_dir(settings) else { return false };
    let folders = interfaces.flatten().map(|entry| entry.path()).filter(|path| !path.ends_with("default"));
    folders
        .into_iter()
        .any(|folder| fs::read_to_string(folder.join("accept_local")).is_ok_and(|found| found.trim() != "0"))
}

/// This host's addresses; none if it does not tell.
fn own() -> BTreeSet<Ipv4Addr> {
    let addresses = getifaddrs().into_iter().flatten();
    addresses.filter_map(|found| Some(found.address?.as_sockaddr_in()?.ip())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_this_hosts_and_nobody_elses_address_is() {
        let own = own();
        assert!(own.contains(&Ipv4Addr::LOCALHOST) && !own.contains(&Ipv4Addr::new(203, 0, 113, 99)));
    }

    #[test]
    fn one_interface_that_takes_them_is_enough_and_the_default_is_none() {
        let folder = std::env::temp_dir().join(format!("lb-accept-local-{}", std::process::id()));
        let set = |name: &str, value: &str| {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("accept_local"), value).unwrap();
        };
        set("all", "0\n");
        set("default", "1\n");
        let before = is_accepted(&folder);
        set("eth0", "1\n");
        let after = is_accepted(&folder);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((before, after), (false, true));
    }
}
