//! The stages of the packet path, once for every kind of program: each runs its part of `lb_common::datapath` over the
//! packet of its hook, and turns the outcome into the hook's code.

use crate::capture;
use crate::cookie::Kernel;
use crate::guard::sends_cookies;
use crate::maps::{self, KernelTables};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_jiffies64;
use core::ffi::c_void;
use lb_common::abi::{BackendId, Stage, Ticks};
use lb_common::datapath::guard::{self, Cookies, Glance};
use lb_common::datapath::{
    self, Arrival, Family, Next, Outcome, Reason, Steered, TablesFor, Verdict, Version,
};
use lb_common::wire::{Packet, U32be, ipv6};

/// What a kind of program has of its own: its view of a packet, and the codes for what becomes of one.
pub(crate) trait Hook: EbpfContext {
    /// The packet; `HELD` as in `XdpPacket`.
    type View<'a, const HELD: bool>: Packet
    where
        Self: 'a;

    /// The packet goes on to this host's own stack.
    const PASS: u32;
    /// The packet ends here.
    const DROP: u32;

    /// Whether SYNs of a flood can be answered there.
    const ANSWERS_SYNS: bool = false;

    /// The packet as it is now.
    fn view<const HELD: bool>(&self) -> Self::View<'_, HELD>;

    /// Interface the packet came by.
    fn ingress(&self) -> u32;

    /// Why the packet is none that this kind of program can take, if it is none.
    #[inline(always)]
    fn refuses(&self) -> Option<Reason> {
        None
    }

    /// Sends the packet out; gives the code for that.
    fn send(&self, ifindex: u32) -> u32;

    /// Copies the packet's first bytes to a place in a map; says whether it has so many.
    ///
    /// # Safety
    /// There must be room for `length` bytes.
    unsafe fn copy_out(&self, place: *mut c_void, length: u32) -> bool;

    /// Goes on with another program, and comes back only if no service takes it, so that it was not loaded.
    fn tail_call(&self, stage: Stage);
}

/// What comes by the million, and where the rest goes on to.
#[inline(always)]
pub(crate) fn balance<H: Hook>(ctx: &H) -> u32 {
    let (mut packet, tables) = (ctx.view::<true>(), KernelTables::often(ctx));
    if let Some(reason) = ctx.refuses() {
        maps::count(reason, packet.length());
        return H::PASS;
    }
    // While somebody captures, all packets go on to the stages, which show them: what is to be shown need not be kept here.
    if !capture::is_on()
        && let Some(outcome) = datapath::often(&mut packet, &tables, || arrival(ctx))
    {
        return code(ctx, &outcome);
    }
    match datapath::version(&packet) {
        Some(Version::V4) => ctx.tail_call(U32be::STAGES.transport),
        Some(Version::V6) => ctx.tail_call(ipv6::Address::STAGES.transport),
        None => return finish(ctx, &datapath::leave(&packet, &tables, Reason::NotIp)),
    }
    // A family's stages come with its first service.
    finish(ctx, &datapath::leave(&packet, &tables, Reason::NotAVip))
}

/// The guard in front of the balancer, and the balancer for what comes by the million.
#[inline(always)]
pub(crate) fn guard<H: Hook>(ctx: &H) -> u32 {
    let (mut packet, tables) = (ctx.view::<true>(), KernelTables::new(ctx));
    if let Some(reason) = ctx.refuses() {
        maps::count(reason, packet.length());
        return H::PASS;
    }
    // One call site each, which the kernel makes a jump.
    match guard::glance(&mut packet, &tables, || arrival(ctx), || H::ANSWERS_SYNS && sends_cookies()) {
        Glance::Done(outcome) => finish(ctx, &outcome),
        Glance::Stopped(reason) => stop(ctx, reason, H::DROP),
        Glance::GoOn => go_on(ctx, Stage::Balance),
        Glance::Look(Version::V4) => go_on(ctx, Stage::GuardV4),
        Glance::Look(Version::V6) => go_on(ctx, Stage::GuardV6),
        Glance::Challenge(Version::V4) => go_on(ctx, Stage::CookieV4),
        Glance::Challenge(Version::V6) => go_on(ctx, Stage::CookieV6),
    }
}

/// The same after a closer look.
#[inline(always)]
pub(crate) fn guard_closely<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    match guard::look::<A>(&ctx.view::<false>(), &KernelTables::new(ctx), now()) {
        Some(reason) => stop(ctx, reason, H::DROP),
        None => go_on(ctx, Stage::Balance),
    }
}

/// What a flood makes suspect.
#[inline(always)]
pub(crate) fn challenge<'a, A: Family, H: Hook>(ctx: &'a H) -> u32
where
    Kernel<'a, H>: Cookies<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    match guard::challenge::<A>(&mut packet, &tables, &Kernel(ctx), arrival(ctx)) {
        Some(outcome) => finish(ctx, &outcome),
        None => go_on(ctx, Stage::Balance),
    }
}

/// TCP and UDP.
#[inline(always)]
pub(crate) fn transport<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    match datapath::transport::<A>(&mut packet, &tables, arrival(ctx)) {
        Ok(outcome) => return finish_aloud(ctx, &outcome),
        Err(Next::Nat) => ctx.tail_call(A::STAGES.nat),
        Err(Next::Dnat) => ctx.tail_call(A::STAGES.dnat),
        Err(Next::Control) => ctx.tail_call(A::STAGES.control),
    }
    // Where no service of this family translates, nothing is an answer to one.
    finish(ctx, &datapath::leave(&packet, &tables, Reason::NotAVip))
}

/// TCP and UDP of services that translate both addresses.
#[inline(always)]
pub(crate) fn nat<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    match datapath::full_nat::<A>(&mut packet, &tables, arrival(ctx)) {
        Some(outcome) => finish_aloud(ctx, &outcome),
        None => go_on(ctx, A::STAGES.nat_first),
    }
}

/// Those that begin a flow.
#[inline(always)]
pub(crate) fn nat_first<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    finish_aloud(ctx, &datapath::full_nat_first::<A>(&mut packet, &tables, arrival(ctx)))
}

/// TCP and UDP of services that translate the destination.
#[inline(always)]
pub(crate) fn dnat<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    finish_aloud(ctx, &datapath::destination_nat::<A>(&mut packet, &tables, arrival(ctx)))
}

/// ICMP.
#[inline(always)]
pub(crate) fn control<A: Family, H: Hook>(ctx: &H) -> u32
where
    KernelTables: TablesFor<A>,
{
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    match datapath::control::<A>(&mut packet, &tables, arrival(ctx)) {
        Some(outcome) => return finish_aloud(ctx, &outcome),
        None => ctx.tail_call(A::STAGES.relay),
    }
    // Where no service puts outer headers of this family around packets, nothing is about one.
    finish(ctx, &datapath::leave(&packet, &tables, Reason::IcmpNotOurs))
}

/// ICMP that may be about an outer header.
#[inline(always)]
pub(crate) fn relay<A: Family, H: Hook>(ctx: &H) -> u32 {
    let (mut packet, tables) = (ctx.view::<false>(), KernelTables::new(ctx));
    finish_aloud(ctx, &datapath::relay::<A>(&mut packet, &tables, arrival(ctx)))
}

/// A backend's side of direct server return: takes the outer header off and hands the rest to the stack.
#[inline(always)]
pub(crate) fn decap<H: Hook>(ctx: &H) -> u32 {
    let mut packet = ctx.view::<false>();
    let bytes = packet.length();
    let reason = datapath::decapsulate(&mut packet, maps::gue_port());
    maps::count(reason, bytes);
    code_without_way::<H>(reason)
}

/// Tells userspace of the trouble that was left to it; gives the code that was left with it.
#[inline(always)]
pub(crate) fn announce<H: Hook>(ctx: &H) -> u32 {
    let Some(left) = maps::announced() else { return H::DROP };
    match left & 0xff {
        NO_BACKEND | UNSERVED => aya_log_ebpf::warn!(ctx, "no backend can take a packet"),
        UNRESOLVED => aya_log_ebpf::warn!(ctx, "a backend's next hop is not known"),
        TABLE_FULL => aya_log_ebpf::warn!(ctx, "the flow table is full"),
        PORTS_TAKEN => aya_log_ebpf::warn!(ctx, "no free port towards a backend"),
        NO_HEADROOM => aya_log_ebpf::warn!(ctx, "the driver leaves no headroom"),
        INCONSISTENT => aya_log_ebpf::error!(ctx, "the tables contradict each other"),
        _ => {}
    }
    left >> 8
}

const NO_BACKEND: u32 = Reason::NoBackend as u32;
/// The only trouble that a packet is answered about.
pub(crate) const UNSERVED: u32 = Reason::Unserved as u32;
const UNRESOLVED: u32 = Reason::Unresolved as u32;
const TABLE_FULL: u32 = Reason::TableFull as u32;
const PORTS_TAKEN: u32 = Reason::PortsTaken as u32;
const NO_HEADROOM: u32 = Reason::NoHeadroom as u32;
const INCONSISTENT: u32 = Reason::Inconsistent as u32;

/// Turns what became of a packet into the hook's code for it, and shows the packet to whoever captures.
///
/// Each arm by itself, for an outcome that is looked at a second time has parts that the verifier takes for undefined
/// ("R1 !read_ok", Linux 6.18); and the question first, so that nothing is kept for a capture that cannot be.
#[inline(always)]
fn finish<H: Hook>(ctx: &H, outcome: &Outcome) -> u32 {
    match outcome {
        Ok(Steered { reason, backend, ifindex, .. }) => {
            if !capture::is_on() {
                return ctx.send(*ifindex);
            }
            capture::show(ctx, *reason, (*backend, *ifindex), ctx.send(*ifindex))
        }
        Err(reason) if reason.verdict() == Verdict::Pass => stop(ctx, *reason, H::PASS),
        Err(reason) => stop(ctx, *reason, H::DROP),
    }
}

/// The same for a packet that is not sent out, by the code for that.
#[inline(always)]
fn stop<H: Hook>(ctx: &H, reason: Reason, code: u32) -> u32 {
    if capture::is_on() { capture::show(ctx, reason, (BackendId::NONE, 0), code) } else { code }
}

/// Turns what became of a packet into the hook's code for it.
#[inline(always)]
fn code<H: Hook>(ctx: &H, outcome: &Outcome) -> u32 {
    match outcome {
        Ok(steered) => ctx.send(steered.ifindex),
        Err(reason) => code_without_way::<H>(*reason),
    }
}

/// The code for a packet that is not sent out.
#[inline(always)]
fn code_without_way<H: Hook>(reason: Reason) -> u32 {
    if reason.verdict() == Verdict::Pass { H::PASS } else { H::DROP }
}

/// The same, and tells userspace of trouble, if it wants to hear of it. A capture comes first, and goes on to tell.
#[inline(always)]
fn finish_aloud<H: Hook>(ctx: &H, outcome: &Outcome) -> u32 {
    match outcome {
        Err(reason) if maps::is_loud() && reason.verdict() == Verdict::Drop && !capture::is_on() => {
            tell(ctx, *reason as u32, H::DROP)
        }
        Ok(Steered { reason: Reason::Unserved, ifindex, .. }) if maps::is_loud() && !capture::is_on() => {
            tell(ctx, UNSERVED, ctx.send(*ifindex))
        }
        _ => finish(ctx, outcome),
    }
}

/// Leaves trouble, by its reason's number, and the code for the packet to the program that tells of it.
#[inline(always)]
pub(crate) fn tell<H: Hook>(ctx: &H, reason: u32, code: u32) -> u32 {
    maps::leave_to_announce(code << 8 | reason);
    ctx.tail_call(Stage::Announce);
    // What cannot be told of is decided all the same.
    code
}

/// Goes on with another program. Where that is gone, the packet goes to the host, as if no program were here: the kernel
/// empties the array of stages when the daemon that made it is gone, and a filter at TC outlives a daemon that is killed.
/// To drop instead would cut the host off.
#[inline(always)]
fn go_on<H: Hook>(ctx: &H, stage: Stage) -> u32 {
    ctx.tail_call(stage);
    maps::count(Reason::StageGone, ctx.view::<false>().length());
    H::PASS
}

/// Where and when a packet arrived.
#[inline(always)]
fn arrival<H: Hook>(ctx: &H) -> Arrival {
    Arrival { ifindex: ctx.ingress(), now: now() }
}

/// The kernel's tick counter; reading it costs nothing, where a clock in nanoseconds costs 22 ns.
#[inline(always)]
pub(crate) fn now() -> Ticks {
    // SAFETY: a helper call without arguments.
    Ticks(unsafe { bpf_jiffies64() } as u32)
}
