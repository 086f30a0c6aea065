//! What netlink says of a network interface.
//!
//! Asked for over a blocking socket where the daemon starts, and parsed the same way from the watching one later.

use super::dump::dump;
use super::{AttachError, NetlinkError};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage, LinkXdp, VlanProtocol,
};
use std::io;
use std::net::IpAddr;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` on interfaces that are not Ethernet.
    pub address: Option<[u8; 6]>,
    /// The largest packet it takes, in bytes from the IP header on.
    pub mtu: u32,
    /// The largest IPv6 packet it takes, which a router on the network may have told; `None` where IPv6 is off.
    pub mtu_v6: Option<u32>,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether it is one end of a veth pair, which hands frames over only if the other end is ready for them.
    pub is_veth: bool,
    /// The VLAN it stands for, if it is a VLAN interface.
    pub vlan: Option<Vlan>,
    /// The number of the XDP program attached to it.
    pub xdp_program: Option<u32>,
    /// Its link layer, if its frames have no Ethernet header.
    pub other_layer: Option<LinkLayerType>,
}

/// The VLAN that an interface stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface whose frames carry the tag; 0 if that is in another network namespace.
    pub carrier: u32,
    /// The VLAN's number.
    pub id: u16,
    /// Whether its tag is an 802.1Q tag, the only kind the programs write.
    pub is_802_1q: bool,
}

impl Link {
    /// The interface of this name in the current network namespace.
    pub fn find(name: &str) -> Result<Self, AttachError> {
        let links = Self::all()?;
        let present: Vec<_> = links.iter().map(|link| link.name.clone()).collect();
        let absent = || AttachError::NoInterface { name: name.to_owned(), present: present.join(", ") };
        links.into_iter().find(|link| link.name == name).ok_or_else(absent)
    }

    /// All interfaces of the current network namespace.
    pub fn all() -> Result<Vec<Self>, NetlinkError> {
        request_links().map_err(NetlinkError::new("list the interfaces"))
    }

    /// What a netlink message says of an interface.
    #[must_use]
    pub fn parse(message: &LinkMessage) -> Self {
        let header = &message.header;
        let mut link =
            Self { index: header.index, is_up: header.flags.contains(LinkFlags::Up), ..Self::default() };
        message.attributes.iter().for_each(|attribute| link.note(attribute));
        link.address = link.address.filter(|_| header.link_layer_type == LinkLayerType::Ether);
        // The loopback's frames have such a header, too, with empty addresses.
        let is_framed = matches!(header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback);
        link.other_layer = (!is_framed).then_some(header.link_layer_type);
        link.vlan = parse_vlan(&message.attributes);
        link
    }

    /// Refuses an interface whose frames are none that the programs can read.
    pub fn require_frames(&self) -> Result<(), AttachError> {
        let refusal = |layer: &LinkLayerType| AttachError::NotEthernet {
            interface: self.name.clone(),
            layer: layer.to_string(),
        };
        self.other_layer.as_ref().map(refusal).map_or(Ok(()), Err)
    }

    /// The largest packet it takes of either family.
    #[must_use]
    pub fn common_mtu(&self) -> u32 {
        self.mtu_v6.unwrap_or(u32::MAX).min(self.mtu)
    }

    /// The largest packet it takes of the family of this address.
    pub(super) fn mtu_towards(&self, address: IpAddr) -> u32 {
        self.mtu_v6.filter(|_| address.is_ipv6()).unwrap_or(u32::MAX).min(self.mtu)
    }

    fn note(&mut self, attribute: &LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => self.mtu = *mtu,
            LinkAttribute::AfSpecUnspec(families) => self.mtu_v6 = parse_mtu_v6(families),
            LinkAttribute::Address(bytes) => self.address = bytes.as_slice().try_into().ok(),
            LinkAttribute::Xdp(xdp) => self.xdp_program = parse_program(xdp),
            LinkAttribute::LinkInfo(info) => self.is_veth = info.contains(&LinkInfo::Kind(InfoKind::Veth)),
            _ => {}
        }
    }
}

fn parse_mtu_v6(families: &[AfSpecUnspec]) -> Option<u32> {
    let settings = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(settings) => Some(settings),
        _ => None,
    })?;
    settings.iter().find_map(|setting| match setting {
        AfSpecInet6::DevConf(conf) => u32::try_from(conf.mtu6).ok().filter(|mtu| *mtu > 0),
        _ => None,
    })
}

/// The attached program; several at once (native and generic) are told apart by other attributes, and one is enough
/// to know that the interface is taken.
fn parse_program(xdp: &[LinkXdp]) -> Option<u32> {
    xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) if *id != 0 => Some(*id),
        _ => None,
    })
}

fn parse_vlan(attributes: &[LinkAttribute]) -> Option<Vlan> {
    let carrier = parse_carrier(attributes)?;
    let info = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    })?;
    let data = info.iter().find_map(|item| match item {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let id = data.iter().find_map(|item| match item {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })?;
    let is_802_1q = !data.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad));
    Some(Vlan { carrier, id, is_802_1q })
}

/// The index of an interface in another namespace may be that of one here as well.
fn parse_carrier(attributes: &[LinkAttribute]) -> Option<u32> {
    let is_elsewhere = attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(if is_elsewhere { 0 } else { *index }),
        _ => None,
    })
}

fn request_links() -> io::Result<Vec<Link>> {
    let answers = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |answer| match answer {
        RouteNetlinkMessage::NewLink(link) => Some(Link::parse(&link)),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(link).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::Inet6DevConf;

    fn vlan_on(carrier: u32, data: Vec<InfoVlan>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.100".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 7]),
            LinkAttribute::Link(carrier),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(data)),
            ]),
        ];
        message
    }

    #[test]
    fn a_vlan_interface_tells_its_carrier_and_tag() {
        let link =
            Link::parse(&vlan_on(3, vec![InfoVlan::Id(100), InfoVlan::Protocol(VlanProtocol::Ieee8021Q)]));
        assert_eq!(link.vlan, Some(Vlan { carrier: 3, id: 100, is_802_1q: true }));
        assert_eq!((link.index, link.address), (7, Some([2, 0, 0, 0, 0, 7])));
        let link =
            Link::parse(&vlan_on(3, vec![InfoVlan::Id(9), InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)]));
        assert!(!link.vlan.unwrap().is_802_1q);
    }

    #[test]
    fn a_carrier_in_another_namespace_is_not_taken_for_one_here() {
        let mut message = vlan_on(3, vec![InfoVlan::Id(100)]);
        message.attributes.push(LinkAttribute::LinkNetNsId(0));
        assert_eq!(Link::parse(&message).vlan, Some(Vlan { carrier: 0, id: 100, is_802_1q: true }));
    }

    #[test]
    fn the_mtu_of_ipv6_is_told_apart_from_the_interfaces() {
        let mut message = vlan_on(3, Vec::new());
        let ipv4_only = Link::parse(&message);
        let mut conf = Inet6DevConf::default();
        conf.mtu6 = 1400;
        let settings = AfSpecUnspec::Inet6(vec![AfSpecInet6::DevConf(conf)]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(Vec::new()), settings]));
        let link = Link::parse(&message);
        let [v4, v6] = ["10.0.0.1", "fd00::1"].map(|address| address.parse().unwrap());
        assert_eq!((link.mtu_towards(v4), link.mtu_towards(v6)), (1500, 1400));
        assert_eq!((ipv4_only.mtu_v6, ipv4_only.mtu_towards(v6)), (None, 1500));
        assert_eq!((link.common_mtu(), ipv4_only.common_mtu()), (1400, 1500));
    }

    #[test]
    fn the_far_end_of_a_veth_pair_is_not_a_carrier() {
        let mut message = vlan_on(3, Vec::new());
        let veth = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]);
        message.attributes.pop();
        message.attributes.push(veth);
        let link = Link::parse(&message);
        assert!(link.is_veth && link.vlan.is_none());
    }

    #[test]
    fn only_ethernet_has_an_address() {
        let mut message = vlan_on(3, Vec::new());
        message.header.link_layer_type = LinkLayerType::None;
        assert_eq!(Link::parse(&message).address, None);
    }

    #[test]
    fn an_interface_without_ethernet_frames_is_refused_by_its_name_and_layer() {
        let mut message = vlan_on(3, Vec::new());
        let refusal = |message: &LinkMessage| Link::parse(message).require_frames().err();
        assert!(refusal(&message).is_none());
        message.header.link_layer_type = LinkLayerType::Loopback;
        assert!(refusal(&message).is_none());
        message.header.link_layer_type = LinkLayerType::None;
        let said = refusal(&message).unwrap().to_string();
        assert!(
            said.starts_with("`eth0.100` carries no Ethernet frames") && said.contains("name an"),
            "{said}"
        );
    }

    #[test]
    fn the_loopback_is_among_the_interfaces() {
        assert!(Link::all().unwrap().iter().any(|link| link.name == "lo" && link.index == 1));
        let error = Link::find("nowhere0").unwrap_err().to_string();
        assert!(error.contains("nowhere0") && error.contains("lo"), "{error}");
    }
}
