//! The kernel programs of `lb`: the packet view, the maps, and verdict → XDP code. They decide nothing; what happens
//! to a packet, and why, is in `lb_common::datapath`.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "the attribute `xdp` leaves the documentation of what it wraps behind")]

mod capture;
mod listen;
mod maps;
mod packet;
mod route;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_redirect};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{CaptureRecord, Stage, Ticks};
use lb_common::datapath::{self, Arrival, Next, Outcome, Reason, Steered, Verdict, Version};
use lb_common::wire::{U32be, ipv6};
use maps::KernelTables;
use packet::XdpPacket;

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
    let (mut packet, tables) = (XdpPacket::<true>::new(&ctx), KernelTables::new(&ctx));
    if let Some(outcome) = datapath::often(&mut packet, &tables, || arrival(&ctx)) {
        return finish(&ctx, &outcome);
    }
    match datapath::version(&packet) {
        Some(Version::V4) => maps::go_on(&ctx, Stage::TransportV4),
        Some(Version::V6) => maps::go_on(&ctx, Stage::TransportV6),
        None => finish(&ctx, &datapath::not_ip(&packet, &tables)),
    }
}

/// TCP and UDP over IPv4.
#[xdp]
#[inline(always)]
pub fn lb_transport4(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    match datapath::transport::<U32be>(&mut packet, &tables, arrival(&ctx)) {
        Ok(outcome) => finish_aloud(&ctx, &outcome),
        Err(Next::Nat) => maps::go_on(&ctx, Stage::NatV4),
        Err(Next::Dnat) => maps::go_on(&ctx, Stage::DnatV4),
        Err(Next::Control) => maps::go_on(&ctx, Stage::ControlV4),
    }
}

/// TCP and UDP over IPv4 of services that translate both addresses.
#[xdp]
#[inline(always)]
pub fn lb_nat4(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    match datapath::full_nat::<U32be>(&mut packet, &tables, arrival(&ctx)) {
        Some(outcome) => finish_aloud(&ctx, &outcome),
        None => maps::go_on(&ctx, Stage::NatFirstV4),
    }
}

/// Those that begin a flow.
#[xdp]
#[inline(always)]
pub fn lb_nat_first4(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::full_nat_first::<U32be>(&mut packet, &tables, arrival(&ctx)))
}

/// TCP and UDP over IPv4 of services that translate the destination.
#[xdp]
#[inline(always)]
pub fn lb_dnat4(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::destination_nat::<U32be>(&mut packet, &tables, arrival(&ctx)))
}

/// ICMP over IPv4.
#[xdp]
#[inline(always)]
pub fn lb_control4(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::control::<U32be>(&mut packet, &tables, arrival(&ctx)))
}

/// TCP and UDP over IPv6.
#[xdp]
#[inline(always)]
pub fn lb_transport6(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    match datapath::transport::<ipv6::Address>(&mut packet, &tables, arrival(&ctx)) {
        Ok(outcome) => finish_aloud(&ctx, &outcome),
        Err(Next::Nat) => maps::go_on(&ctx, Stage::NatV6),
        Err(Next::Dnat) => maps::go_on(&ctx, Stage::DnatV6),
        Err(Next::Control) => maps::go_on(&ctx, Stage::ControlV6),
    }
}

/// TCP and UDP over IPv6 of services that translate both addresses.
#[xdp]
#[inline(always)]
pub fn lb_nat6(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    match datapath::full_nat::<ipv6::Address>(&mut packet, &tables, arrival(&ctx)) {
        Some(outcome) => finish_aloud(&ctx, &outcome),
        None => maps::go_on(&ctx, Stage::NatFirstV6),
    }
}

/// Those that begin a flow.
#[xdp]
#[inline(always)]
pub fn lb_nat_first6(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::full_nat_first::<ipv6::Address>(&mut packet, &tables, arrival(&ctx)))
}

/// TCP and UDP over IPv6 of services that translate the destination.
#[xdp]
#[inline(always)]
pub fn lb_dnat6(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::destination_nat::<ipv6::Address>(&mut packet, &tables, arrival(&ctx)))
}

/// ICMP over IPv6.
#[xdp]
#[inline(always)]
pub fn lb_control6(ctx: XdpContext) -> u32 {
    let (mut packet, tables) = (XdpPacket::<false>::new(&ctx), KernelTables::new(&ctx));
    finish_aloud(&ctx, &datapath::control::<ipv6::Address>(&mut packet, &tables, arrival(&ctx)))
}

/// A backend's side of direct server return: takes the outer header off and hands the rest to the stack.
#[xdp]
#[inline(always)]
pub fn lb_decap(ctx: XdpContext) -> u32 {
    let bytes = length(&ctx);
    let reason = datapath::decapsulate(&mut XdpPacket::<false>::new(&ctx), maps::gue_port());
    maps::count(reason, bytes);
    xdp_action::XDP_PASS
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
    now().0
}

/// Never attached: the daemon test-runs it to have words written to the tables that programs address directly.
#[xdp]
#[inline(always)]
pub fn lb_write(ctx: XdpContext) -> u32 {
    maps::write(&XdpPacket::<false>::new(&ctx))
}

/// Turns what became of a packet into the kernel's code for it, and shows the packet to whoever captures.
///
/// Each arm by itself, for an outcome that is looked at a second time has parts that the verifier takes for undefined
/// ("R1 !read_ok", Linux 6.18); and the question first, so that nothing is kept for a capture that cannot be.
#[inline(always)]
fn finish(ctx: &XdpContext, outcome: &Outcome) -> u32 {
    match outcome {
        Ok(Steered { reason, backend, ifindex, .. }) => {
            if !capture::is_on() {
                return leave(ctx, *ifindex);
            }
            let record = CaptureRecord::new(*reason as u8, *backend, *ifindex);
            capture::show(ctx, record, leave(ctx, *ifindex))
        }
        Err(reason) => {
            let code = stop(*reason);
            if capture::is_on() {
                capture::show(ctx, CaptureRecord::stopped(*reason as u8), code)
            } else {
                code
            }
        }
    }
}

/// The code for a packet that is not sent out.
#[inline(always)]
fn stop(reason: Reason) -> u32 {
    if reason.verdict() == Verdict::Pass { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP }
}

/// The same, and tells userspace of trouble, if it wants to hear of it. A capture comes first, and goes on to tell.
#[inline(always)]
fn finish_aloud(ctx: &XdpContext, outcome: &Outcome) -> u32 {
    match outcome {
        Err(reason) if maps::is_loud() && reason.verdict() == Verdict::Drop && !capture::is_on() => {
            maps::announce(ctx, *reason as u32)
        }
        _ => finish(ctx, outcome),
    }
}

/// Sends a steered packet out.
#[inline(always)]
fn leave(ctx: &XdpContext, ifindex: u32) -> u32 {
    if ifindex == ingress(ctx.ctx) && !maps::tx_by_redirect() {
        return xdp_action::XDP_TX;
    }
    // SAFETY: a helper call on an interface index and no flags.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// Tells userspace of the drops that mean trouble of ours. A program of its own, since the log's frames do not fit beside
/// others' on a stack. Nobody comes here unless the daemon was told `log_packets`: a load-time constant, and the verifier
/// removes the way here.
#[xdp]
pub fn lb_announce(ctx: XdpContext) -> u32 {
    match maps::announced() {
        NO_BACKEND => aya_log_ebpf::warn!(&ctx, "no backend can take a packet"),
        UNRESOLVED => aya_log_ebpf::warn!(&ctx, "a backend's next hop is not known"),
        TABLE_FULL => aya_log_ebpf::warn!(&ctx, "the flow table is full"),
        PORTS_TAKEN => aya_log_ebpf::warn!(&ctx, "no free port towards a backend"),
        NO_HEADROOM => aya_log_ebpf::warn!(&ctx, "the driver leaves no headroom"),
        INCONSISTENT => aya_log_ebpf::error!(&ctx, "the tables contradict each other"),
        _ => {}
    }
    xdp_action::XDP_DROP
}

/// Shows a packet to whoever captures. A program of its own, for want of room on others' stacks.
#[xdp]
pub fn lb_capture(ctx: XdpContext) -> u32 {
    capture::capture(&ctx)
}

const NO_BACKEND: u32 = Reason::NoBackend as u32;
const UNRESOLVED: u32 = Reason::Unresolved as u32;
const TABLE_FULL: u32 = Reason::TableFull as u32;
const PORTS_TAKEN: u32 = Reason::PortsTaken as u32;
const NO_HEADROOM: u32 = Reason::NoHeadroom as u32;
const INCONSISTENT: u32 = Reason::Inconsistent as u32;

/// Bytes of the packet as it arrived.
#[inline(always)]
fn length(ctx: &XdpContext) -> u32 {
    (ctx.data_end() - ctx.data()) as u32
}

/// Where and when a packet arrived.
#[inline(always)]
fn arrival(ctx: &XdpContext) -> Arrival {
    Arrival { ifindex: ingress(ctx.ctx), now: now() }
}

/// Interface a packet came by.
#[inline(always)]
fn ingress(ctx: *mut xdp_md) -> u32 {
    // SAFETY: the kernel hands the program a valid context.
    unsafe { (*ctx).ingress_ifindex }
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
