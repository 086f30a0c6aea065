//! The same programs for TC, which runs where XDP cannot: after the kernel made a packet buffer, put packets of a
//! connection together, and took the first VLAN tag out.

mod packet;
mod room;

use crate::capture;
use crate::stage::{self, Hook};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_load_bytes};
use aya_ebpf::macros::{btf_map, classifier};
use aya_ebpf::programs::TcContext;
use core::ffi::c_void;
use lb_common::abi::Stage;
use lb_common::datapath::Reason;
use lb_common::wire::{U32be, ipv6};
use packet::TcPacket;

/// The programs a packet may go on to; those of one kind cannot call another kind's.
#[btf_map]
static TC_STAGES: ProgramArray<{ Stage::PLACES }> = ProgramArray::new();

impl Hook for TcContext {
    type View<'a, const HELD: bool> = TcPacket<'a, HELD>;

    /// Whatever other programs there are have their say, then the stack.
    const PASS: u32 = TC_ACT_UNSPEC as u32;
    const DROP: u32 = TC_ACT_SHOT as u32;

    #[inline(always)]
    fn view<const HELD: bool>(&self) -> TcPacket<'_, HELD> {
        TcPacket::new(self)
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (*self.skb.skb).ifindex }
    }

    /// A tag beside the frame would go with it to wherever it is sent.
    #[inline(always)]
    fn refuses(&self) -> Option<Reason> {
        // SAFETY: a field of the program's own context.
        let is_tagged = unsafe { (*self.skb.skb).vlan_present } != 0;
        is_tagged.then_some(Reason::TagBeside)
    }

    /// The arrival interface is one like any other.
    #[inline(always)]
    fn send(&self, ifindex: u32) -> u32 {
        // SAFETY: a helper call on an interface index and no flags.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    #[inline(always)]
    unsafe fn copy_out(&self, place: *mut c_void, length: u32) -> bool {
        // SAFETY: room for so many bytes, as the caller says; the kernel checks that the packet has them.
        unsafe { bpf_skb_load_bytes(self.skb.skb.cast(), 0, place, length) == 0 }
    }

    #[inline(always)]
    fn tail_call(&self, stage: Stage) {
        // SAFETY: nothing here is to be dropped.
        unsafe { TC_STAGES.tail_call(self, stage as u32) };
    }
}

/// The balancer; see `lb_balance`.
#[classifier]
#[inline(always)]
pub fn lbtc_balance(ctx: TcContext) -> i32 {
    stage::balance(&ctx) as i32
}

/// TCP and UDP over IPv4.
#[classifier]
#[inline(always)]
pub fn lbtc_transport4(ctx: TcContext) -> i32 {
    stage::transport::<U32be, _>(&ctx) as i32
}

/// TCP and UDP over IPv4 of services that translate both addresses.
#[classifier]
#[inline(always)]
pub fn lbtc_nat4(ctx: TcContext) -> i32 {
    stage::nat::<U32be, _>(&ctx) as i32
}

/// Those that begin a flow.
#[classifier]
#[inline(always)]
pub fn lbtc_nat_first4(ctx: TcContext) -> i32 {
    stage::nat_first::<U32be, _>(&ctx) as i32
}

/// TCP and UDP over IPv4 of services that translate the destination.
#[classifier]
#[inline(always)]
pub fn lbtc_dnat4(ctx: TcContext) -> i32 {
    stage::dnat::<U32be, _>(&ctx) as i32
}

/// ICMP over IPv4.
#[classifier]
#[inline(always)]
pub fn lbtc_control4(ctx: TcContext) -> i32 {
    stage::control::<U32be, _>(&ctx) as i32
}

/// TCP and UDP over IPv6.
#[classifier]
#[inline(always)]
pub fn lbtc_transport6(ctx: TcContext) -> i32 {
    stage::transport::<ipv6::Address, _>(&ctx) as i32
}

/// TCP and UDP over IPv6 of services that translate both addresses.
#[classifier]
#[inline(always)]
pub fn lbtc_nat6(ctx: TcContext) -> i32 {
    stage::nat::<ipv6::Address, _>(&ctx) as i32
}

/// Those that begin a flow.
#[classifier]
#[inline(always)]
pub fn lbtc_nat_first6(ctx: TcContext) -> i32 {
    stage::nat_first::<ipv6::Address, _>(&ctx) as i32
}

/// TCP and UDP over IPv6 of services that translate the destination.
#[classifier]
#[inline(always)]
pub fn lbtc_dnat6(ctx: TcContext) -> i32 {
    stage::dnat::<ipv6::Address, _>(&ctx) as i32
}

/// ICMP over IPv6.
#[classifier]
#[inline(always)]
pub fn lbtc_control6(ctx: TcContext) -> i32 {
    stage::control::<ipv6::Address, _>(&ctx) as i32
}

/// ICMP over IPv4 that may be about an outer header.
#[classifier]
#[inline(always)]
pub fn lbtc_relay4(ctx: TcContext) -> i32 {
    stage::relay::<U32be, _>(&ctx) as i32
}

/// ICMP over IPv6 that may be about an outer header.
#[classifier]
#[inline(always)]
pub fn lbtc_relay6(ctx: TcContext) -> i32 {
    stage::relay::<ipv6::Address, _>(&ctx) as i32
}

/// A backend's side of direct server return; see `lb_decap`.
#[classifier]
#[inline(always)]
pub fn lbtc_decap(ctx: TcContext) -> i32 {
    stage::decap(&ctx) as i32
}

/// Tells userspace of the drops that mean trouble of ours; see `lb_announce`.
#[classifier]
pub fn lbtc_announce(ctx: TcContext) -> i32 {
    stage::announce(&ctx) as i32
}

/// Hands a packet to whoever captures; see `lb_capture`.
#[classifier]
pub fn lbtc_capture(ctx: TcContext) -> i32 {
    capture::capture(&ctx) as i32
}

/// The guard; see `lb_guard`.
#[classifier]
#[inline(always)]
pub fn lbtc_guard(ctx: TcContext) -> i32 {
    stage::guard(&ctx) as i32
}

/// The guard for IPv4 packets that are not plain.
#[classifier]
#[inline(always)]
pub fn lbtc_guard4(ctx: TcContext) -> i32 {
    stage::guard_closely::<U32be, _>(&ctx) as i32
}

/// The same for IPv6.
#[classifier]
#[inline(always)]
pub fn lbtc_guard6(ctx: TcContext) -> i32 {
    stage::guard_closely::<ipv6::Address, _>(&ctx) as i32
}
