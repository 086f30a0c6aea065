//! The kernel programs of `lb`: the packet view, the maps, and verdict → XDP code. They decide nothing; what happens
//! to a packet, and why, is in `lb_common::datapath`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute `xdp` leaves the documentation of what it wraps behind")]

mod maps;
mod packet;

use aya_ebpf::bindings::{xdp_action, xdp_md};
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
    let arrival = arrival(&ctx);
    match datapath::often(&mut XdpPacket::<true>::new(&ctx), &maps::KernelTables, arrival) {
        Some(outcome) => finish(&outcome, &arrival),
        None => balance_seldom(ctx.ctx),
    }
}

/// The packets that are seldom: a function of its own, so that what they need does not crowd the registers of the
/// others. Its arguments and result are numbers, as a call on BPF cannot return anything larger.
#[inline(never)]
extern "C" fn balance_seldom(ctx: *mut xdp_md) -> u32 {
    let ctx = XdpContext::new(ctx);
    let arrival = arrival(&ctx);
    let outcome = datapath::seldom(&mut XdpPacket::<false>::new(&ctx), &maps::KernelTables, arrival);
    if let Err(reason) = &outcome {
        announce(&ctx, *reason);
    }
    finish(&outcome, &arrival)
}

/// A backend's side of direct server return: takes the outer header off and hands the rest to the stack.
#[xdp]
pub fn lb_decap(ctx: XdpContext) -> u32 {
    let bytes = length(&ctx);
    let reason = datapath::decapsulate(&mut XdpPacket::<false>::new(&ctx));
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

/// Turns what became of a packet into the kernel's code for it.
#[inline(always)]
fn finish(outcome: &Outcome, arrival: &Arrival) -> u32 {
    match outcome {
        Ok(steered) => leave(steered, arrival),
        Err(reason) if reason.verdict() == Verdict::Pass => xdp_action::XDP_PASS,
        Err(_) => xdp_action::XDP_DROP,
    }
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

/// Where and when a packet arrived.
#[inline(always)]
fn arrival(ctx: &XdpContext) -> Arrival {
    Arrival { ifindex: ingress(ctx), now: now() }
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
