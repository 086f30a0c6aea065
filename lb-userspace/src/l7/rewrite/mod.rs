//! What changes in a head on its way: fields of one hop stay behind, the client is told of, the backend is not.
//!
//! ```text
//! Fields ─► names (drop, keep, note) ─► FieldSink ◄─ what is set: host, forwarding fields, identifiers, the route's edits
//! ```
//!
//! One pass. A field that nobody has anything to say about, which is nearly every one, costs a comparison of its length and first
//! letter. Framing (`content-length`, `transfer-encoding`) is never passed on: whoever forwards the body writes it.
//!
//! Pure: randomness comes in from outside.

mod location;
mod names;
mod path;
mod peer;
mod redirect;
mod request;
mod response;
mod scheme;
#[cfg(test)]
mod tests;
mod urls;

pub use location::Authorities;
pub use path::PathEdit;
pub use peer::Peer;
pub use redirect::Redirect;
pub use request::{Named, RequestContext, RequestEdits, request_id};
pub(super) use response::written_hsts;
pub use response::{ResponseContext, ResponseEdits};
pub(super) use scheme::{is_of_connection, takes_a_connection};

use crate::config::proxy::{Edits, Field};
use crate::l7::message::FieldSink;

/// Fields to write at the end of a head.
#[derive(Debug, Default)]
struct Constants(Box<[Constant]>);

/// Its name and its value.
type Constant = (Box<str>, Box<[u8]>);

impl Constants {
    fn new(edits: &Edits) -> Self {
        let constant = |field: &Field| (field.name.as_str().into(), field.value.as_bytes().into());
        Self(edits.set.iter().chain(&edits.add).map(constant).collect())
    }

    fn put(&self, sink: &mut impl FieldSink) {
        self.0.iter().for_each(|(name, value)| sink.add(name, value));
    }
}

/// The names that a route's edits take out of what came: those it removes, and those it sets anew.
fn taken_out(edits: &Edits) -> impl Iterator<Item = &str> {
    let set = edits.set.iter().map(|field| field.name.as_str());
    edits.remove.iter().map(String::as_str).chain(set)
}
