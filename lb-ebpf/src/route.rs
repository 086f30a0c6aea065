//! Asks the kernel where it would send a packet, and how much an interface takes.

use crate::maps;
use aya_ebpf::bindings::{BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup as Query};
use aya_ebpf::helpers::{bpf_check_mtu, bpf_fib_lookup};
use core::ffi::c_void;
use core::mem;
use lb_common::abi::{FlowKey, Hop};
use lb_common::datapath::{Arrival, Route};
use lb_common::wire::ethernet::Addresses;
use lb_common::wire::vlan::Tags;
use lb_common::wire::{U32be, ipv6};

/// `AF_INET` and `AF_INET6` (include/linux/socket.h).
const INET: u8 = 2;
const INET6: u8 = 10;

const FOUND: i64 = BPF_FIB_LKUP_RET_SUCCESS as i64;
const TOO_NARROW: i64 = BPF_FIB_LKUP_RET_FRAG_NEEDED as i64;

/// The way of an IPv4 packet with these addresses and of so many bytes.
#[inline(always)]
pub(crate) fn v4(ctx: *mut c_void, key: &FlowKey<U32be>, bytes: u32, arrival: Arrival) -> Route {
    let mut query = query(INET, key.protocol(), bytes, arrival);
    query.__bindgen_anon_3.ipv4_src = key.source.raw();
    query.__bindgen_anon_4.ipv4_dst = key.destination.raw();
    ask(ctx, &mut query)
}

/// The way of an IPv6 packet with these addresses and of so many bytes.
#[inline(always)]
pub(crate) fn v6(ctx: *mut c_void, key: &FlowKey<ipv6::Address>, bytes: u32, arrival: Arrival) -> Route {
    let mut query = query(INET6, key.protocol(), bytes, arrival);
    query.__bindgen_anon_3.ipv6_src = key.source.0.map(U32be::raw);
    query.__bindgen_anon_4.ipv6_dst = key.destination.0.map(U32be::raw);
    ask(ctx, &mut query)
}

/// Bytes of an IP packet that an interface takes; as many as there may be where it is gone, for the driver to judge.
#[inline(always)]
pub(crate) fn mtu(ctx: *mut c_void, ifindex: u32) -> u32 {
    let mut mtu = 0;
    // SAFETY: the program's own context, and a number that lives through the call. It is written whatever the answer.
    unsafe { bpf_check_mtu(ctx, ifindex, &raw mut mtu, 0, 0) };
    if mtu == 0 { u32::MAX } else { mtu }
}

#[inline(always)]
fn query(family: u8, protocol: u8, bytes: u32, arrival: Arrival) -> Query {
    // SAFETY: plain numbers, for which zero is a value.
    let mut query: Query = unsafe { mem::zeroed() };
    query.family = family;
    query.l4_protocol = protocol;
    query.ifindex = arrival.ifindex;
    // The kernel compares it with what the route takes, where it is not zero (since Linux 5.12).
    query.__bindgen_anon_1.tot_len = bytes.min(u32::from(u16::MAX)) as u16;
    query
}

#[inline(always)]
fn ask(ctx: *mut c_void, query: &mut Query) -> Route {
    let size = mem::size_of::<Query>() as i32;
    // SAFETY: the program's own context, and a query that lives through the call.
    match unsafe { bpf_fib_lookup(ctx, query, size, 0) } {
        FOUND if maps::reaches(query.ifindex) => Route::By(Hop {
            link: Addresses::new(query.dmac, query.smac),
            ifindex: query.ifindex,
            tags: Tags::NONE,
        }),
        // SAFETY: the kernel's answer in the place of the question, both of them numbers.
        TOO_NARROW => Route::TooNarrow(unsafe { query.__bindgen_anon_1.mtu_result }.into()),
        _ => Route::Kernel,
    }
}
