//! Layer 7: the real daemon without an interface, between curl or openssl and real backends, by both transports.

mod health;
mod http2;
mod idle;
mod life;
mod plain;
mod safety;
mod scene;
mod seen;
mod smuggling;
mod soak;
mod tls;

use crate::runner::Case;
use crate::skip::Need;
use anyhow::Result;
use scene::{Io, Scene};

/// A claim about a scene.
type Claim = (&'static str, fn(&mut Scene) -> Result<()>);

/// The cases of all suites of layer 7.
pub(super) fn cases() -> Vec<Case> {
    let suites = [
        ("plain", plain::CLAIMS),
        ("tls", tls::CLAIMS),
        ("http2", http2::CLAIMS),
        ("life", life::CLAIMS),
        ("safety", safety::CLAIMS),
        ("seen", seen::CLAIMS),
        ("health", health::CLAIMS),
    ];
    suites
        .into_iter()
        .flat_map(|(name, claims)| Io::BOTH.into_iter().flat_map(move |io| with(name, io, claims)))
        .chain(smuggling::cases())
        .chain(soak::cases())
        .collect()
}

/// What idle connections cost, which is measured: for nobody beside.
pub(super) fn idle() -> Vec<Case> {
    idle::cases()
}

fn with(name: &'static str, io: Io, claims: &'static [Claim]) -> impl Iterator<Item = Case> {
    claims.iter().map(move |(sentence, run)| {
        let case =
            Case::new(format!("l7::{name}::{}::{sentence}", io.word()), move || run(&mut Scene::build(io)?));
        let case = case.needs(&[Need::Root, Need::Command("curl"), Need::Command("openssl")]);
        if io == Io::Uring { case.needs(&[Need::IoUring]) } else { case }
    })
}
