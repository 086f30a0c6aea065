//! The bytes that cross the kernel border: map keys and values, with their sizes and padding checked.
//!
//! Userspace writes services, backends and slots; the kernel programs write flows and counters. Nothing here decides.

mod address;
mod backend;
mod capture;
mod counters;
mod flow;
mod fragment;
mod guard;
pub mod limits;
mod line;
mod listen;
mod load;
mod order;
mod quic;
mod range;
mod service;
mod shared;
mod slot;
mod stage;

pub use address::{Address, Ip, address_difference};
pub use backend::{Backend, BackendFlags, BackendId, Extent, Wrapped};
pub use capture::{CaptureCount, CaptureEnds, CaptureFilter, CaptureRecord, CaptureSide};
pub use counters::{BackendCount, Count, Counters};
pub use flow::{Flow, FlowKey, FlowKind, FlowState, Hop, Ticks};
pub use fragment::{Fragment, FragmentKey};
#[cfg(feature = "host")]
pub use guard::List;
pub use guard::{
    BlockKey, Bucket, BucketLine, GuardFlags, GuardRule, GuardState, Kind, ListEntry, ListNode, Origin,
    Outline, Rate, SourceBuckets, SourceMask,
};
pub use line::{Line, LineWord};
pub use listen::{ListenPorts, ListenerId, Listening};
pub use load::{InsertRate, Load};
pub use order::{Order, Table};
pub use quic::QuicServer;
pub use range::{Contents, PortRange, PrefixKey};
pub use service::{Forward, Select, Service, ServiceFlags, ServiceKey};
pub use slot::Slot;
pub use stage::{Stage, StageSet, Stages};
