//! The stack's search for a socket, asked here first: services that end on this host land on their listener, whatever
//! address and port it is bound to.

use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{LpmTrie, SockMap};
use aya_ebpf::macros::{btf_map, sk_lookup};
use aya_ebpf::programs::SkLookupContext;
use lb_common::abi::{Ip, ListenerId, Listening, PrefixKey, limits};
use lb_common::datapath::{ListenTable, find_listener};
use lb_common::wire::{U16be, U32be, ipv6};

/// What addresses and prefixes listen on.
#[btf_map]
static LISTENING: LpmTrie<[u32; 5], Listening, { limits::LISTENING as usize }> = LpmTrie::new();
/// The listeners' sockets; the kernel takes out one that is closed.
#[btf_map]
static LISTENERS: SockMap<{ limits::LISTENERS as usize }> = SockMap::new();

/// `AF_INET` and `AF_INET6` (include/linux/socket.h).
const INET: u32 = 2;
const INET6: u32 = 10;

/// Names the socket for a connection or a datagram. Without one to name, or if the kernel refuses it (closed just now, of
/// another family), the search goes on as if this program were not there.
#[sk_lookup]
pub fn lb_listen(ctx: SkLookupContext) -> u32 {
    if let Some(listener) = listener(ctx.lookup) {
        let _ = LISTENERS.redirect_sk_lookup(&ctx, u32::from(listener.get()), 0);
    }
    SK_PASS
}

#[inline(always)]
fn listener(lookup: *const bpf_sk_lookup) -> Option<ListenerId> {
    // SAFETY: a field of the program's own context.
    match word(unsafe { &raw const (*lookup).family }) {
        INET => {
            // SAFETY: as above.
            let address = word(unsafe { &raw const (*lookup).local_ip4 });
            find(lookup, U32be::from_raw(address))
        }
        INET6 => {
            // SAFETY: as above.
            let words: *const u32 = unsafe { (&raw const (*lookup).local_ip6).cast() };
            let address = [0, 1, 2, 3].map(|index| U32be::from_raw(word(words.wrapping_add(index))));
            find(lookup, ipv6::Address(address))
        }
        _ => None,
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the kernel keeps ports and protocols in wider words")]
fn find<A: Ip>(lookup: *const bpf_sk_lookup, address: A) -> Option<ListenerId> {
    // SAFETY: fields of the program's own context; this port is in the machine's order.
    let (port, protocol) =
        unsafe { (word(&raw const (*lookup).local_port), word(&raw const (*lookup).protocol)) };
    find_listener(&Trie, (address, U16be::new(port as u16)), protocol as u8)
}

/// Reads a word of the context on its own: the verifier refuses two that the compiler joined into one read.
#[inline(always)]
fn word(field: *const u32) -> u32 {
    // SAFETY: every caller names a word of the context.
    unsafe { field.read_volatile() }
}

/// The kernel's trie of prefixes.
struct Trie;

impl ListenTable for Trie {
    #[inline(always)]
    fn listening(&self, address: &PrefixKey) -> Option<&Listening> {
        LISTENING.get(&Key::new(address.bits, address.to_words()))
    }
}
