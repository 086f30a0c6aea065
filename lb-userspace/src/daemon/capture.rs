//! Captures: from the operator's words to the kernel's filter, and from its records to packets with names.
//!
//! A capture is a task of its own beside the balancer. It ends when enough was shown, or when whoever asked has gone;
//! then the kernel's filter asks for nothing again, and the next capture may begin.

use super::balancer::{Balancer, chain};
use crate::config::{Protocol, Service, Vip};
use crate::control::server::Answer;
use crate::control::{CaptureOrder, CapturedPacket, Peer, Response};
use crate::kernel::capture::Running;
use crate::kernel::{Capture, Link, Prefix};
use lb_common::abi::{BackendId, CaptureFilter, CaptureRecord, CaptureSide};
use lb_common::datapath::{self, Reason};
use lb_common::wire::{Buffer, protocol};
use nix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// Packets that wait for whoever captures; the rest wait in the ring buffer.
const QUEUE: usize = 64;
/// How long a capture waits for the one before it, which ends as soon as its reader is seen to have gone.
const PATIENCE: Duration = Duration::from_secs(1);
/// A capture without an end has one when nobody remembers it.
const ENDLESS: Duration = Duration::from_hours(24 * 365);

/// What to do where the configuration does not allow captures.
const OFF: &str = "captures are switched off: add these lines to the configuration and start the daemon again\n\n\
                   [capture]\nenabled = true\n";

/// What captures have in hand, one at a time.
pub(super) type Captures = Arc<Mutex<Capture>>;

impl Balancer {
    /// Begins a capture.
    pub(super) fn capture(&self, order: &CaptureOrder) -> Answer {
        match self.begin_capture(order) {
            Ok(packets) => Answer::Many(packets),
            Err(message) => Response::Refused { message }.into(),
        }
    }

    fn begin_capture(&self, order: &CaptureOrder) -> Result<mpsc::Receiver<Response>, String> {
        let captures = self.captures.clone().ok_or(OFF)?;
        let filter = self.filter(order)?;
        let names = self.capture_names().map_err(|error| chain(&error))?;
        let (sender, packets) = mpsc::channel(QUEUE);
        let end = End { at: Instant::now() + order.time.unwrap_or(ENDLESS), count: order.count };
        tokio::task::spawn_local(async move {
            if let Err(message) = run(&captures, &filter, &names, end, &sender).await {
                // Whoever asked may have gone.
                let _ = sender.send(Response::Refused { message }).await;
            }
        });
        Ok(packets)
    }

    fn filter(&self, order: &CaptureOrder) -> Result<CaptureFilter, String> {
        let mut filter = CaptureFilter::everything(self.loaded_with.capture.snap);
        if !order.reasons.is_empty() {
            filter.reasons =
                order.reasons.iter().try_fold(0, |bits, label| Ok::<_, String>(bits | bit(label)?))?;
        }
        filter.from = order.from.map_or(CaptureSide::ANY, side_of_peer);
        filter.to = order.to.map_or(CaptureSide::ANY, side_of_peer);
        if let Some(name) = &order.service {
            let service = super::orders::find_service(&self.config, name)?;
            filter.vip = side_of_vip(service.vip);
            for backend in self.planner.backends(service.vip) {
                filter.add_backend(backend.id);
            }
        }
        Ok(filter)
    }

    fn capture_names(&self) -> Result<Names, super::Error> {
        let links = Link::all()?.into_iter().map(|link| (link.index, link.name)).collect();
        let services = &self.config.services;
        let of_service = |service: &Service| self.planner.backends(service.vip);
        let backends = services.iter().flat_map(of_service).map(|view| (view.id, self.names(&view.key)));
        Ok(Names {
            links,
            served: self.interfaces.names(),
            backends: backends.collect(),
            services: services
                .iter()
                .map(|service| (side_of_vip(service.vip), service.name.clone()))
                .collect(),
            epoch_ns: epoch_ns().map_err(|errno| super::Error::Clock(errno.into()))?,
        })
    }
}

/// When a capture ends by itself.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Instant,
    count: Option<u64>,
}

async fn run(
    captures: &Captures,
    filter: &CaptureFilter,
    names: &Names,
    end: End,
    sender: &mpsc::Sender<Response>,
) -> Result<(), String> {
    let busy = |_| "another capture goes on; end it, or wait until it ends".to_owned();
    let mut capture = timeout(PATIENCE, captures.lock()).await.map_err(busy)?;
    let mut running = capture.begin(filter).map_err(|error| chain(&error))?;
    // Fails where whoever asked has gone, which the next step sees, too.
    let _ = sender.send(Response::Capturing { snap: filter.snap, interfaces: names.served.clone() }).await;
    show(&mut running, names, end, sender).await.map_err(|error| chain(&error))?;
    let (wanted, missed) = running.counted().map_err(|error| chain(&error))?;
    let _ = sender.send(Response::Captured { wanted, missed }).await;
    Ok(())
}

/// Sends packets until enough were sent, the time is over, or nobody takes them.
async fn show(
    running: &mut Running<'_>,
    names: &Names,
    end: End,
    sender: &mpsc::Sender<Response>,
) -> std::io::Result<()> {
    let mut left = end.count.unwrap_or(u64::MAX);
    while left > 0 && Instant::now() < end.at {
        if let Some((record, bytes)) = running.take_next() {
            left -= 1;
            let packet = Box::new(names.tell(&record, bytes));
            if sender.send(Response::Packet(packet)).await.is_err() {
                return Ok(());
            }
            continue;
        }
        tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            () = sleep_until(end.at) => {}
            ready = running.wait() => ready?,
        }
    }
    Ok(())
}

/// What records mean in the operator's words, as it was when the capture began.
#[derive(Debug, Default)]
struct Names {
    links: HashMap<u32, String>,
    /// The interfaces that are balanced on.
    served: Vec<String>,
    /// Service and backend.
    backends: HashMap<BackendId, (String, String)>,
    services: Vec<(CaptureSide, String)>,
    /// What to add to the kernel's monotonic clock.
    epoch_ns: u64,
}

impl Names {
    fn tell(&self, record: &CaptureRecord, bytes: Vec<u8>) -> CapturedPacket {
        let reason = Reason::ALL.get(usize::from(record.reason));
        let (service, backend) = match self.backends.get(&record.backend) {
            Some((service, backend)) => (Some(service.clone()), Some(backend.clone())),
            None => (self.service_of(record, &bytes), unnamed(record.backend)),
        };
        CapturedPacket {
            at_ns: self.epoch_ns.wrapping_add(record.at_ns),
            arrived_by: self.link(record.arrived_by),
            leaves_by: (record.leaves_by != 0).then(|| self.link(record.leaves_by)),
            verdict: reason.map_or("unknown", |reason| reason.verdict().label()).to_owned(),
            reason: reason.map_or("unknown", |reason| reason.label()).to_owned(),
            service,
            backend,
            length: record.length,
            bytes,
        }
    }

    /// The first service that a packet of no backend is for or from, by its addresses.
    fn service_of(&self, record: &CaptureRecord, bytes: &[u8]) -> Option<String> {
        let (outer, inner) = datapath::ends(&Buffer::new(bytes), !record.backend.is_none());
        let is_of =
            |side: &CaptureSide| side.is_end_of(&outer) || inner.is_some_and(|inner| side.is_end_of(&inner));
        self.services.iter().find(|(side, _)| is_of(side)).map(|(_, name)| name.clone())
    }

    /// An interface that came later is told by its number.
    fn link(&self, index: u32) -> String {
        self.links.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }
}

/// A backend that came later has its number only.
fn unnamed(id: BackendId) -> Option<String> {
    (!id.is_none()).then(|| format!("#{}", id.get()))
}

fn bit(label: &str) -> Result<u64, String> {
    let place = Reason::ALL.iter().position(|reason| reason.label() == label);
    place.map(|place| 1 << place).ok_or_else(|| format!("there is no reason `{label}`; `status` lists them"))
}

fn side_of_peer(peer: Peer) -> CaptureSide {
    let side = side_of(peer.addr, u8::MAX);
    peer.port.map_or(side, |port| side.ports(port, port))
}

fn side_of_vip(vip: Vip) -> CaptureSide {
    let number = match vip.protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
    };
    side_of(vip.addr, vip.bits).ports(vip.port, vip.last_port).protocol(number)
}

/// The addresses that share these bits with one.
fn side_of(addr: IpAddr, bits: u8) -> CaptureSide {
    let (version, ones) = match addr {
        IpAddr::V4(_) => (4, IpAddr::V4(Ipv4Addr::BROADCAST)),
        IpAddr::V6(_) => (6, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))),
    };
    let [address, mask] = [addr, ones].map(|addr| Prefix::new(addr, bits).key().address);
    CaptureSide::within(version, address, mask)
}

/// The wall clock's time at the monotonic clock's zero.
fn epoch_ns() -> nix::Result<u64> {
    let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
    let monotonic = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(u64::try_from(wall.saturating_sub(monotonic).as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment from 10.0.0.9:4000 to 203.0.113.10:80.
    fn segment() -> Vec<u8> {
        let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol::TCP, 0, 0, 10, 0, 0, 9, 203, 0, 113, 10];
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &ip, &[0x0f, 0xa0, 0, 80], &[0; 16]].concat()
    }

    fn vip(port: u16) -> Vip {
        Vip::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), port, Protocol::Tcp)
    }

    fn names() -> Names {
        let services = [(443, "tls"), (80, "web")];
        Names {
            served: Vec::new(),
            links: HashMap::from([(2, "eth0".to_owned())]),
            backends: HashMap::from([(BackendId::from_bits(7), ("web".to_owned(), "web1".to_owned()))]),
            services: services.map(|(port, name)| (side_of_vip(vip(port)), name.to_owned())).into(),
            epoch_ns: 1_000,
        }
    }

    #[test]
    fn a_steered_packet_has_its_backend_s_names() {
        let mut record = record(Reason::Settled, 7, 3);
        (record.arrived_by, record.at_ns, record.length) = (2, 5, 60);
        let packet = names().tell(&record, segment());
        assert_eq!(packet.to_string(), "verdict=forward reason=settled service=web backend=web1 out=if3");
        assert_eq!((packet.at_ns, packet.arrived_by.as_str(), packet.length), (1_005, "eth0", 60));
    }

    #[test]
    fn a_dropped_packet_s_service_is_told_by_its_destination() {
        let packet = names().tell(&record(Reason::NoBackend, 0, 0), segment());
        assert_eq!(packet.to_string(), "verdict=drop reason=no_backend service=web");
        let stranger = names().tell(&record(Reason::NotIp, 0, 0), vec![0; 14]);
        assert_eq!(stranger.to_string(), "verdict=pass reason=not_ip");
    }

    #[test]
    fn a_backend_that_came_later_has_a_number() {
        let packet = names().tell(&record(Reason::Opened, 9, 2), segment());
        assert_eq!(packet.to_string(), "verdict=forward reason=opened service=web backend=#9 out=eth0");
    }

    fn record(reason: Reason, backend: u16, leaves_by: u32) -> CaptureRecord {
        let mut record = CaptureRecord::default();
        record.end(reason as u8, BackendId::from_bits(backend), leaves_by);
        record
    }

    #[test]
    fn peers_and_vips_of_both_families_become_sides() {
        let (ends, _) = datapath::ends(&Buffer::new(&segment()), false);
        let fits = |text: &str| side_of_peer(text.parse().unwrap()).is_end_of(&ends);
        assert!(fits("10.0.0.9") && fits("10.0.0.9:4000") && fits("203.0.113.10:80"));
        assert!(
            !fits("10.0.0.9:80") && !fits("10.0.0.8") && !fits("::ffff:10.0.0.9") && !fits("2001:db8::1")
        );
        let wide = Vip { addr: [203, 0, 112, 0].into(), bits: 23, last_port: 90, ..vip(70) };
        assert!(side_of_vip(wide).is_end_of(&ends));
        assert!(!side_of_vip(Vip { protocol: Protocol::Udp, ..wide }).is_end_of(&ends));
    }

    #[test]
    fn a_reason_has_its_number_s_bit_and_a_strange_one_is_refused() {
        assert_eq!(bit("not_a_vip"), Ok(1 << Reason::NotAVip as u32));
        assert!(bit("no_such").unwrap_err().contains("`status` lists them"));
    }
}
