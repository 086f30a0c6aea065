//! The kernel programs of `lb`: the packet view, the maps, and verdict → XDP code. They decide nothing; what happens
//! to a packet, and why, is in `lb_common::datapath`.
#![no_std]
#![no_main]

mod maps;
mod packet;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_redirect};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::Ticks;
use lb_common::datapath::{self, Arrival, Outcome, Reason, Steered, Verdict};
use packet::XdpPacket;

/// The licence the kernel reads; the helpers used here are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// The balancer: steers clients' packets to backends and backends' replies to clients.
#[xdp]
pub fn lb_balance(ctx: XdpContext) -> u32 {
    let arrival = Arrival { ifindex: ingress(&ctx), now: now() };
    let outcome = datapath::balance(&mut XdpPacket::new(&ctx), &maps::KernelTables, arrival);
    match &outcome {
        Ok(steered) => leave(steered, &arrival),
        Err(reason) => stop(&ctx, *reason),
    }
}

/// A backend's side of direct server return: takes the outer header off and hands the rest to the stack.
#[xdp]
pub fn lb_decap(ctx: XdpContext) -> u32 {
    let bytes = length(&ctx);
    let reason = datapath::decapsulate(&mut XdpPacket::new(&ctx));
    maps::count(reason, bytes);
    xdp_action::XDP_PASS
}

/// Lets everything pass: a veth must have a program to receive frames its peer sends by `XDP_TX`.
#[xdp]
pub fn lb_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Never attached: the daemon test-runs it to read the clock the flow records are stamped with.
#[xdp]
pub fn lb_clock(_ctx: XdpContext) -> u32 {
    now().0
}

/// Sends a steered packet out.
#[inline(always)]
fn leave(steered: &Steered, arrival: &Arrival) -> u32 {
    if steered.ifindex == arrival.ifindex && !maps::tx_by_redirect() {
        return xdp_action::XDP_TX;
    }
    // SAFETY: a helper call on an interface index and no flags.
    unsafe { bpf_redirect(steered.ifindex, 0) as u32 }
}

/// Ends the way of a packet that was not steered.
#[inline(always)]
fn stop(ctx: &XdpContext, reason: Reason) -> u32 {
    if reason.verdict() == Verdict::Pass {
        return xdp_action::XDP_PASS;
    }
    announce(ctx, reason);
    xdp_action::XDP_DROP
}

/// Tells userspace of the drops that mean trouble of ours. Off unless the daemon was told `log_packets`: the log level
/// is a load-time constant, and the verifier removes the code.
#[inline(always)]
fn announce(ctx: &XdpContext, reason: Reason) {
    match reason {
        Reason::NoBackend => aya_log_ebpf::warn!(ctx, "no backend can take a packet"),
        Reason::Unresolved => aya_log_ebpf::warn!(ctx, "a backend's next hop is not known"),
        Reason::TableFull => aya_log_ebpf::warn!(ctx, "the flow table is full"),
        Reason::PortsTaken => aya_log_ebpf::warn!(ctx, "no free port towards a backend"),
        Reason::NoHeadroom => aya_log_ebpf::warn!(ctx, "the driver leaves no headroom"),
        Reason::Inconsistent => aya_log_ebpf::error!(ctx, "the tables contradict each other"),
        _ => {}
    }
}

/// Bytes of the packet as it arrived.
#[inline(always)]
fn length(ctx: &XdpContext) -> u32 {
    (ctx.data_end() - ctx.data()) as u32
}

/// Interface a packet came by.
#[inline(always)]
fn ingress(ctx: &XdpContext) -> u32 {
    // SAFETY: the kernel hands the program a valid context.
    unsafe { (*ctx.ctx).ingress_ifindex }
}

/// The kernel's tick counter; reading it costs nothing, where a clock in nanoseconds costs 22 ns.
#[inline(always)]
fn now() -> Ticks {
    // SAFETY: a helper call without arguments.
    Ticks(unsafe { bpf_jiffies64() } as u32)
}

/// Unreachable by construction: the loop makes the verifier refuse a program that could come here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
