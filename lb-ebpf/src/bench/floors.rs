//! Floors: the least a program of its kind can do. Constants stand where a real program computes.

use crate::header::{first_bytes, put};
use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Passes.
#[xdp]
pub fn floor_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Passes, at TC.
#[classifier]
pub fn floor_pass_tc(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Drops.
#[xdp]
pub fn floor_drop(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Sends the packet back as it is.
#[xdp]
pub fn floor_tx(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// What no encapsulation can do without: room for an outer header, and 34 bytes of Ethernet and IPv4 in it.
#[xdp]
pub fn floor_encap(ctx: XdpContext) -> u32 {
    // SAFETY: a helper call on the program's own context; pointers are taken afterwards.
    if unsafe { bpf_xdp_adjust_head(ctx.ctx, -20) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    let Some(start) = first_bytes(&ctx, 34) else { return xdp_action::XDP_ABORTED };
    // SAFETY: 34 bytes, which were compared.
    unsafe {
        put(start, 0, 0x0200_0b00_0000_0002_u64);
        put(start, 8, 0x0045_0008_0a00_0000_u64);
        put(start, 16, 0x0440_0040_0000_4600_u64);
        put(start, 24, 0x000a_0100_000a_dead_u64);
        put(start, 32, 0x0b00_u16);
    }
    xdp_action::XDP_TX
}

/// What no address translation can do without: link addresses, IPv4 from the time to live on, ports, and the TCP
/// checksum.
#[xdp]
pub fn floor_rewrite(ctx: XdpContext) -> u32 {
    let Some(start) = first_bytes(&ctx, 54) else { return xdp_action::XDP_ABORTED };
    // SAFETY: within the 54 bytes that were compared.
    unsafe {
        put(start, 0, 0x0200_0b00_0000_0002_u64);
        put(start, 8, 0x0a00_0000_u32);
        put(start, 22, 0xbeef_063f_u32);
        put(start, 26, 0x0100_000a_u32);
        put(start, 30, 0x0b00_000a_u32);
        put(start, 34, 0x901f_409c_u32);
        put(start, 50, 0xdead_u16);
    }
    xdp_action::XDP_TX
}
