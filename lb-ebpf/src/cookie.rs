//! The programs that answer a flood's SYNs with cookies, and what they ask the kernel: Linux 6.0 can make and check cookies
//! for a program. They are loaded only where a service asks for them.

use crate::stage;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_TCP_LISTEN, bpf_sock_tuple, iphdr, ipv6hdr, tcphdr};
use aya_ebpf::helpers::{
    bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_raw_check_syncookie_ipv4, bpf_tcp_raw_check_syncookie_ipv6,
    bpf_tcp_raw_gen_syncookie_ipv4, bpf_tcp_raw_gen_syncookie_ipv6,
};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::datapath::guard::{Asking, Cookies};
use lb_common::wire::{Ports, U32be, ipv4, ipv6, tcp};

/// SYN cookies over IPv4.
#[xdp]
#[inline(always)]
pub fn lb_cookie4(ctx: XdpContext) -> u32 {
    stage::challenge::<U32be, _>(&ctx)
}

/// The same over IPv6.
#[xdp]
#[inline(always)]
pub fn lb_cookie6(ctx: XdpContext) -> u32 {
    stage::challenge::<ipv6::Address, _>(&ctx)
}

/// The kernel of a packet's network namespace.
pub(crate) struct Kernel<'a, H>(pub(crate) &'a H);

/// The namespace of the packet's interface, which is the listener's.
const THIS_NAMESPACE: u64 = -1i32 as u64;

impl<H: EbpfContext> Kernel<'_, H> {
    /// Whether there is a connection between the ends of a tuple. The lookup finds its listener, too, where there is none.
    #[inline(always)]
    fn holds_connection<const WORDS: usize>(&self, mut tuple: [U32be; WORDS]) -> bool {
        let (ctx, place) = (self.0.as_ptr(), (&raw mut tuple).cast::<bpf_sock_tuple>());
        // SAFETY: a helper call with a tuple on the stack and its size, which tells the kernel which family it is of.
        let socket =
            unsafe { bpf_skc_lookup_tcp(ctx, place, size_of::<[U32be; WORDS]>() as u32, THIS_NAMESPACE, 0) };
        if socket.is_null() {
            return false;
        }
        // SAFETY: a field of a socket that the lookup holds for us.
        let state = unsafe { (&raw const (*socket).state).read_volatile() };
        // SAFETY: the socket is ours to let go of, once.
        unsafe { bpf_sk_release(socket.cast()) };
        state != BPF_TCP_LISTEN
    }
}

/// The number that a helper gave, whose upper half is the longest segment that it can stand for; an error is negative.
#[inline(always)]
fn cookie(answer: i64) -> Option<U32be> {
    if answer < 0 { None } else { Some(U32be::new(answer as u32)) }
}

impl<H: EbpfContext> Cookies<U32be> for Kernel<'_, H> {
    #[inline(always)]
    fn cookie(&self, ip: &ipv4::Header, syn: &Asking) -> Option<U32be> {
        let (mut ip, mut syn) = (*ip, *syn);
        let (ip, tcp) = ((&raw mut ip).cast::<iphdr>(), (&raw mut syn).cast::<tcphdr>());
        // SAFETY: headers on the stack, of these sizes.
        cookie(unsafe { bpf_tcp_raw_gen_syncookie_ipv4(ip, tcp, size_of::<Asking>() as u32) })
    }

    #[inline(always)]
    fn is_valid(&self, ip: &ipv4::Header, segment: &tcp::Header) -> bool {
        let (mut ip, mut segment) = (*ip, *segment);
        let (ip, tcp) = ((&raw mut ip).cast::<iphdr>(), (&raw mut segment).cast::<tcphdr>());
        // SAFETY: as above.
        unsafe { bpf_tcp_raw_check_syncookie_ipv4(ip, tcp) == 0 }
    }

    #[inline(always)]
    fn is_connected(&self, (source, destination): (U32be, U32be), ports: Ports) -> bool {
        self.holds_connection([source, destination, ports.word()])
    }
}

impl<H: EbpfContext> Cookies<ipv6::Address> for Kernel<'_, H> {
    #[inline(always)]
    fn cookie(&self, ip: &ipv6::Header, syn: &Asking) -> Option<U32be> {
        let (mut ip, mut syn) = (*ip, *syn);
        let (ip, tcp) = ((&raw mut ip).cast::<ipv6hdr>(), (&raw mut syn).cast::<tcphdr>());
        // SAFETY: headers on the stack, of these sizes.
        cookie(unsafe { bpf_tcp_raw_gen_syncookie_ipv6(ip, tcp, size_of::<Asking>() as u32) })
    }

    #[inline(always)]
    fn is_valid(&self, ip: &ipv6::Header, segment: &tcp::Header) -> bool {
        let (mut ip, mut segment) = (*ip, *segment);
        let (ip, tcp) = ((&raw mut ip).cast::<ipv6hdr>(), (&raw mut segment).cast::<tcphdr>());
        // SAFETY: as above.
        unsafe { bpf_tcp_raw_check_syncookie_ipv6(ip, tcp) == 0 }
    }

    #[inline(always)]
    fn is_connected(&self, (source, destination): (ipv6::Address, ipv6::Address), ports: Ports) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (source.0, destination.0);
        self.holds_connection([a, b, c, d, e, f, g, h, ports.word()])
    }
}
