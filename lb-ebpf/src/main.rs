//! The kernel programs of `lb`: the packet view, the maps, and verdict → XDP code. They decide nothing; what happens
//! to a packet, and why, is in `lb_common::datapath`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute `xdp` leaves the documentation of what it wraps behind")]

mod capture;
mod cookie;
mod direct;
mod flow_table;
mod flows;
mod guard;
mod listen;
mod maps;
mod packet;
mod route;
mod stage;
mod tc;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::wire::{U32be, ipv6};
use stage::Hook as _;

/// The licence the kernel reads; the helpers used here are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The balancer: steers clients' packets to backends and backends' replies to clients.
///
/// What comes by the million is done here. The rest goes on to programs of their own, each with a stack and registers
/// to itself.
#[xdp]
#[inline(always)]
pub fn lb_balance(ctx: XdpContext) -> u32 {
    stage::balance(&ctx)
}

/// TCP and UDP over IPv4.
#[xdp]
#[inline(always)]
pub fn lb_transport4(ctx: XdpContext) -> u32 {
    stage::transport::<U32be, _>(&ctx)
}

/// TCP and UDP over IPv4 of services that translate both addresses.
#[xdp]
#[inline(always)]
pub fn lb_nat4(ctx: XdpContext) -> u32 {
    stage::nat::<U32be, _>(&ctx)
}

/// Those that begin a flow.
#[xdp]
#[inline(always)]
pub fn lb_nat_first4(ctx: XdpContext) -> u32 {
    stage::nat_first::<U32be, _>(&ctx)
}

/// TCP and UDP over IPv4 of services that translate the destination.
#[xdp]
#[inline(always)]
pub fn lb_dnat4(ctx: XdpContext) -> u32 {
    stage::dnat::<U32be, _>(&ctx)
}

/// ICMP over IPv4.
#[xdp]
#[inline(always)]
pub fn lb_control4(ctx: XdpContext) -> u32 {
    stage::control::<U32be, _>(&ctx)
}

/// TCP and UDP over IPv6.
#[xdp]
#[inline(always)]
pub fn lb_transport6(ctx: XdpContext) -> u32 {
    stage::transport::<ipv6::Address, _>(&ctx)
}

/// TCP and UDP over IPv6 of services that translate both addresses.
#[xdp]
#[inline(always)]
pub fn lb_nat6(ctx: XdpContext) -> u32 {
    stage::nat::<ipv6::Address, _>(&ctx)
}

/// Those that begin a flow.
#[xdp]
#[inline(always)]
pub fn lb_nat_first6(ctx: XdpContext) -> u32 {
    stage::nat_first::<ipv6::Address, _>(&ctx)
}

/// TCP and UDP over IPv6 of services that translate the destination.
#[xdp]
#[inline(always)]
pub fn lb_dnat6(ctx: XdpContext) -> u32 {
    stage::dnat::<ipv6::Address, _>(&ctx)
}

/// ICMP over IPv6.
#[xdp]
#[inline(always)]
pub fn lb_control6(ctx: XdpContext) -> u32 {
    stage::control::<ipv6::Address, _>(&ctx)
}

/// ICMP over IPv4 that may be about an outer header.
#[xdp]
#[inline(always)]
pub fn lb_relay4(ctx: XdpContext) -> u32 {
    stage::relay::<U32be, _>(&ctx)
}

/// ICMP over IPv6 that may be about an outer header.
#[xdp]
#[inline(always)]
pub fn lb_relay6(ctx: XdpContext) -> u32 {
    stage::relay::<ipv6::Address, _>(&ctx)
}

/// A backend's side of direct server return: takes the outer header off and hands the rest to the stack.
#[xdp]
#[inline(always)]
pub fn lb_decap(ctx: XdpContext) -> u32 {
    stage::decap(&ctx)
}

/// Lets everything pass: a veth must have a program to receive frames its peer sends by `XDP_TX`.
#[xdp]
#[inline(always)]
pub fn lb_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Never attached: the daemon test-runs it to read the clock the flow records are stamped with.
#[xdp]
#[inline(always)]
pub fn lb_clock(_ctx: XdpContext) -> u32 {
    stage::now().0
}

/// Never attached: the daemon test-runs it to have words written to the tables that programs address directly.
#[xdp]
#[inline(always)]
pub fn lb_write(ctx: XdpContext) -> u32 {
    maps::write(&ctx.view::<false>())
}

/// Tells userspace of the drops that mean trouble of ours. A program of its own, since the log's frames do not fit beside
/// others' on a stack. Nobody comes here unless the daemon was told `log_packets`: a load-time constant, and the verifier
/// removes the way here.
#[xdp]
pub fn lb_announce(ctx: XdpContext) -> u32 {
    stage::announce(&ctx)
}

/// Hands a packet to whoever captures. A program of its own, for want of room on others' stacks.
#[xdp]
pub fn lb_capture(ctx: XdpContext) -> u32 {
    capture::capture(&ctx)
}

/// Unreachable by construction: the loop makes the verifier refuse a program that could come here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
