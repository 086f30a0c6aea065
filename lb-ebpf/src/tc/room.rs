//! Room in front of a packet: made and taken away behind the link-layer header, whose bytes move along.
//!
//! The kernel must know of outer headers, or it would part a buffer of several packets as if there were none.
//!
//! Source: `bpf_skb_adjust_room` and `bpf_skb_change_head`, net/core/filter.c.

use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4,
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO,
    bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
};
use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_change_head, bpf_skb_vlan_pop};
use lb_common::wire::Outside;

/// The payload of the packets in a buffer stays as it is.
const AS_THEY_ARE: u64 = BPF_F_ADJ_ROOM_FIXED_GSO as u64;

/// Adds room for tags, or for the header of an answer.
#[inline(always)]
pub(super) fn add(skb: *mut __sk_buff, bytes: i32) -> i64 {
    match adjust(skb, bytes, AS_THEY_ARE) {
        0 => 0,
        // A frame with a tag in it, which is no IP packet to the kernel.
        _ => before_all(skb, bytes),
    }
}

/// Adds room for an outer header. Where a buffer holds several segments of a connection, each gives up as much payload as
/// the header takes, so that it fits where it fitted before; datagrams keep their sizes.
#[inline(always)]
pub(super) fn add_around(skb: *mut __sk_buff, bytes: i32, outer: Outside, is_several: bool) -> i64 {
    let l3 = if outer.v6 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 };
    let flags = u64::from(l3) | if outer.udp { u64::from(BPF_F_ADJ_ROOM_ENCAP_L4_UDP) } else { 0 };
    if adjust(skb, bytes, flags) == 0 {
        return 0;
    }
    if is_several { adjust(skb, bytes, flags | AS_THEY_ARE) } else { before_all(skb, bytes) }
}

/// Takes away what is left of tags.
#[inline(always)]
pub(super) fn take(skb: *mut __sk_buff, bytes: i32) -> i64 {
    match adjust(skb, -bytes, AS_THEY_ARE) {
        0 => 0,
        _ => take_tags(skb, bytes),
    }
}

/// Takes an outer header away; kernels before 6.4 cannot be told what is inside, and take one of the same family only.
#[inline(always)]
pub(super) fn take_around(skb: *mut __sk_buff, bytes: i32, v6: bool) -> i64 {
    let l3 = if v6 { BPF_F_ADJ_ROOM_DECAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_DECAP_L3_IPV4 };
    match adjust(skb, -bytes, u64::from(l3) | AS_THEY_ARE) {
        0 => 0,
        _ => adjust(skb, -bytes, AS_THEY_ARE),
    }
}

/// Pops all tags, since the kernel pops the second along with the first, and adds room again if that was one too many.
#[inline(always)]
fn take_tags(skb: *mut __sk_buff, bytes: i32) -> i64 {
    let wanted = length(skb) - bytes;
    // SAFETY: helper calls on the program's own context. Without a tag they do nothing.
    let refused = unsafe { bpf_skb_vlan_pop(skb) | bpf_skb_vlan_pop(skb) };
    let missing = wanted - length(skb);
    if refused == 0 && missing > 0 { before_all(skb, missing) } else { refused }
}

#[inline(always)]
fn adjust(skb: *mut __sk_buff, bytes: i32, flags: u64) -> i64 {
    // SAFETY: a helper call on the program's own context; the caller takes pointers anew.
    unsafe { bpf_skb_adjust_room(skb, bytes, BPF_ADJ_ROOM_MAC, flags) }
}

/// Adds room before the link-layer header, which stays where it was and is to be written anew.
#[inline(always)]
fn before_all(skb: *mut __sk_buff, bytes: i32) -> i64 {
    // SAFETY: as above.
    unsafe { bpf_skb_change_head(skb, bytes as u32, 0) }
}

#[inline(always)]
fn length(skb: *mut __sk_buff) -> i32 {
    // SAFETY: a field of the program's own context.
    unsafe { (&raw const (*skb).len).read_volatile() as i32 }
}
