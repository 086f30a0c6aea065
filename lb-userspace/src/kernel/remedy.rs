//! What the kernel means when it refuses to attach a program, and the commands that mend it.
//!
//! A driver's refusal is an errno and no more (its words go to the kernel's log), and drivers use the same errno for
//! different things. So what commonly stands in the way is looked at, and whatever is found is named.

use super::ethtool::{self, Channels};
use super::{AttachedMode, Link};

/// The MTU that fits one buffer of every driver.
const SAFE_MTU: u32 = 1500;

/// What stands in the way of native XDP at an interface, as far as it can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Obstacles {
    /// Whether received packets of a connection are put together by the card.
    lro: bool,
    /// Its queues.
    channels: Option<Channels>,
}

/// A sentence about a refusal: the kernel's own words if there are any, else what the errno means here.
pub(super) fn describe(
    interface: &Link,
    mode: AttachedMode,
    errno: Option<i32>,
    said: Option<String>,
) -> String {
    match (errno, mode) {
        (Some(libc::EPERM), _) => "not permitted; run as root or grant CAP_NET_ADMIN and CAP_BPF".into(),
        (Some(libc::ENODEV), _) => "the interface is gone".into(),
        (Some(errno), AttachedMode::Native) => native(interface, errno, said, look(&interface.name)),
        (Some(libc::EINVAL | libc::EOPNOTSUPP), AttachedMode::Tc) => {
            "this kernel has no links for TC, which came with Linux 6.6".into()
        }
        (Some(libc::ENOENT | libc::EOPNOTSUPP), AttachedMode::Clsact) => {
            "this kernel has no `clsact` queueing discipline or no BPF filter; `modprobe -a sch_ingress cls_bpf`".into()
        }
        _ => said.unwrap_or_else(|| "the kernel gave no reason; `dmesg` may".into()),
    }
}

fn look(interface: &str) -> Obstacles {
    // What cannot be asked for is not named.
    Obstacles {
        lro: ethtool::has_lro(interface).unwrap_or(false),
        channels: ethtool::channels(interface).ok(),
    }
}

fn native(interface: &Link, errno: i32, said: Option<String>, obstacles: Obstacles) -> String {
    let mut remedies = Vec::new();
    let name = &interface.name;
    if obstacles.lro {
        remedies.push(format!("large receive offload is on: `ethtool -K {name} lro off`"));
    }
    if interface.mtu > SAFE_MTU && errno != libc::ENOMEM {
        remedies.push(mtu(interface));
    }
    if let Some(combined) = obstacles.channels.and_then(|channels| fewer(channels, errno)) {
        remedies.push(format!(
            "XDP wants queues of its own beside those in use: `ethtool -L {name} combined {combined}`"
        ));
    }
    let meaning = said.unwrap_or_else(|| meaning(errno).to_owned());
    if remedies.is_empty() {
        return format!("{meaning}; use --mode auto or generic");
    }
    format!("{meaning}; {}; or use --mode auto or generic", remedies.join("; "))
}

fn mtu(Link { name, mtu, is_veth, .. }: &Link) -> String {
    let far_end = if *is_veth { ", and the same at the other end" } else { "" };
    format!("its MTU of {mtu} may not fit one buffer: `ip link set dev {name} mtu {SAFE_MTU}`{far_end}")
}

/// As many queues as leave as many to XDP, if more are in use and the driver's answer can be about queues.
fn fewer(channels: Channels, errno: i32) -> Option<u32> {
    let about_queues = matches!(errno, libc::ENOMEM | libc::ENOSPC | libc::EINVAL);
    let half = (channels.most_combined / 2).max(1);
    (about_queues && channels.combined > half).then_some(half)
}

const fn meaning(errno: i32) -> &'static str {
    match errno {
        libc::EOPNOTSUPP => "its driver has no native XDP, or not with these settings",
        libc::ERANGE | libc::EINVAL => "its driver does not take XDP with these settings",
        libc::ENOMEM | libc::ENOSPC => "its driver lacks memory or queues for XDP",
        _ => "its driver refused, and `dmesg` may tell why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mtu: u32, errno: i32, obstacles: Obstacles) -> String {
        let link = Link { name: "eth0".into(), mtu, ..Link::default() };
        native(&link, errno, None, obstacles)
    }

    const BUSY: Channels = Channels { combined: 8, most_combined: 8 };

    #[test]
    fn receive_offload_is_named_with_the_command_that_ends_it() {
        let lro = Obstacles { lro: true, ..Obstacles::default() };
        assert!(said(1500, libc::EOPNOTSUPP, lro).contains("`ethtool -K eth0 lro off`"));
    }

    #[test]
    fn a_large_mtu_is_named_unless_memory_is_short() {
        let mend = "`ip link set dev eth0 mtu 1500`";
        assert!(said(9000, libc::ERANGE, Obstacles::default()).contains(mend));
        assert!(!said(9000, libc::ENOMEM, Obstacles::default()).contains(mend));
        assert!(!said(1500, libc::EINVAL, Obstacles::default()).contains("mtu"));
    }

    #[test]
    fn half_the_queues_are_left_to_xdp() {
        let busy = Obstacles { channels: Some(BUSY), ..Obstacles::default() };
        assert!(said(1500, libc::ENOMEM, busy).contains("`ethtool -L eth0 combined 4`"));
        assert!(!said(1500, libc::EOPNOTSUPP, busy).contains("ethtool -L"));
        assert_eq!(fewer(Channels { combined: 4, ..BUSY }, libc::ENOMEM), None);
    }

    #[test]
    fn without_an_obstacle_another_mode_is_what_is_left() {
        let said = said(1500, libc::EOPNOTSUPP, Obstacles::default());
        assert!(said.contains("no native XDP") && said.ends_with("use --mode auto or generic"), "{said}");
    }

    #[test]
    fn the_drivers_own_words_come_first_where_there_are_any() {
        let link = Link { name: "eth0".into(), mtu: 1500, ..Link::default() };
        let said = native(&link, libc::EINVAL, Some("XDP needs less".into()), Obstacles::default());
        assert!(said.starts_with("XDP needs less"), "{said}");
    }
}
