//! What the programs are told when they are loaded, and never again.

use super::CaptureSettings;
use super::guard::Guarding;
use lb_common::abi::limits;

/// What the programs are told once, when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seed of the flow hash; hosts that share services share it.
    pub seed: u64,
    /// Ports for translated flows: first base and count, second base and count.
    pub ports: [u16; 4],
    /// Send back out of the arrival interface by redirect, as veth needs (see [`super::Link::is_veth`]).
    pub tx_by_redirect: bool,
    /// Log rare events; a debugging aid that costs time for each packet it logs.
    pub log_packets: bool,
    /// Flow records of each family there is room for.
    pub flows: u32,
    /// Datagrams in fragments that are remembered.
    pub fragments: u32,
    /// Records that each CPU may insert in a second; 0 means any number.
    pub new_flows: u32,
    /// Bits of outer sources that are taken from the flow's hash: of IPv4 addresses, and of the last word of IPv6
    /// addresses.
    pub spread: [u32; 2],
    /// Port of outer UDP headers that [`Program::Decap`](super::Program::Decap) takes off; 0 for none.
    pub gue_port: u16,
    /// Whether the programs are wanted for TC, else for XDP. Those of the other kind are loaded when they are attached.
    pub at_tc: bool,
    /// What the guard is told, where there is to be one.
    pub guard: Option<Guarding>,
    /// Whether packets may be captured, and how many.
    pub capture: Option<CaptureSettings>,
}

impl Settings {
    /// Whether SYN cookies are wanted.
    pub(super) fn sends_cookies(&self) -> bool {
        self.guard.is_some_and(|guard| guard.cookies)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            ports: [0; 4],
            tx_by_redirect: false,
            log_packets: false,
            flows: limits::FLOWS,
            fragments: limits::FRAGMENTS,
            new_flows: 0,
            spread: [0; 2],
            gue_port: 0,
            at_tc: false,
            guard: None,
            capture: None,
        }
    }
}
