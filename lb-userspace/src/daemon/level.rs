//! One level for all interfaces. Native XDP hands a frame to an interface only if its driver takes such frames, generic XDP and
//! TC to any: so where the operator left the choice to us, all interfaces are native, or none is.

use super::balancer::chain;
use super::loader::Loader;
use crate::kernel::{AttachError, AttachedMode, Attachment, Link, Mode, Program, Step};

/// What is left where native XDP is out of the question.
const BELOW_NATIVE: [AttachedMode; 3] = [AttachedMode::Generic, AttachedMode::Tc, AttachedMode::Clsact];

/// Attaches the daemon's program, to each interface as its others allow.
#[derive(Debug)]
pub(super) struct Attacher {
    loader: Loader,
    /// What comes first: the balancer, or the guard in front of it.
    program: Program,
    mode: Mode,
    /// The interface for which all do without native XDP.
    lacking: Option<String>,
}

/// How an interface is attached.
#[derive(Debug, PartialEq, Eq)]
enum Level<'a> {
    /// As the operator said.
    Asked,
    /// Natively or not at all: the others are native.
    Native,
    /// Not natively: this interface has no native XDP.
    Below(&'a str),
}

impl Attacher {
    /// None is attached yet.
    pub(super) const fn new(loader: Loader, program: Program, mode: Mode) -> Self {
        Self { loader, program, mode, lacking: None }
    }

    /// Attaches to all of these.
    pub(super) fn attach_all(&mut self, links: &[Link]) -> Result<Vec<Attachment>, AttachError> {
        let attached: Vec<_> = links.iter().map(|link| self.attach(link, None)).collect::<Result<_, _>>()?;
        if let (Some(lacking), true) = (&self.lacking, links.len() > 1) {
            tracing::warn!("native XDP is not used: {}", why_below(lacking));
        }
        attached.into_iter().map(|attachment| self.lower(attachment)).collect()
    }

    /// Attaches to one that came later, where another is attached in this mode. If it cannot be, says why.
    ///
    /// The others stay as they are, for to lower them would cost them connections: an interface has a native program or a generic
    /// one, never both (`dev_xdp_attach` of the kernel), and what comes between the two goes to the host's own stack, which resets
    /// connections through `nat` that it knows nothing of.
    pub(super) fn attach_beside(
        &mut self,
        link: &Link,
        other: Option<AttachedMode>,
    ) -> Result<Attachment, String> {
        let level = level((self.mode, self.lacking.as_deref()), &link.name, other);
        let is_native = level == Level::Native;
        self.attach(link, other).map_err(|error| match error {
            AttachError::Refused { .. } if is_native => format!(
                "the other interfaces are native, and their frames would not reach it in another mode; mend what follows, or \
                 restart the daemon, and none is native: {}",
                chain(&error)
            ),
            error => chain(&error),
        })
    }

    fn attach(&mut self, link: &Link, other: Option<AttachedMode>) -> Result<Attachment, AttachError> {
        let Self { loader, program, mode, lacking } = self;
        match level((*mode, lacking.as_deref()), &link.name, other) {
            Level::Native => loader.attach(*program, link, Mode::Native.ladder()),
            Level::Below(lacking) => {
                let mut attachment = loader.attach(*program, link, &BELOW_NATIVE)?;
                let step = Step { mode: AttachedMode::Native, reason: why_below(lacking) };
                attachment.steps.insert(0, step);
                Ok(attachment)
            }
            Level::Asked => {
                let attachment = loader.attach(*program, link, mode.ladder())?;
                let lacks = *mode == Mode::Auto && attachment.mode != AttachedMode::Native;
                *lacking = lacks.then(|| link.name.clone());
                Ok(attachment)
            }
        }
    }

    /// Attaches anew what is native, if another turned out to have no native XDP.
    fn lower(&mut self, attachment: Attachment) -> Result<Attachment, AttachError> {
        if self.lacking.is_none() || attachment.mode != AttachedMode::Native {
            return Ok(attachment);
        }
        let link = attachment.interface.clone();
        attachment.detach()?;
        self.attach(&link, None)
    }
}

/// How the interface of this name is attached, where one has turned out to lack native XDP or not, and another is attached.
fn level<'a>((mode, lacking): (Mode, Option<&'a str>), name: &str, other: Option<AttachedMode>) -> Level<'a> {
    match (mode, lacking, other) {
        (Mode::Auto, _, Some(AttachedMode::Native)) => Level::Native,
        (Mode::Auto, Some(lacking), other) if other.is_some() || lacking != name => Level::Below(lacking),
        _ => Level::Asked,
    }
}

fn why_below(lacking: &str) -> String {
    format!("`{lacking}` has none, and frames from native interfaces would not reach it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttachedMode::{Generic, Native};

    #[test]
    fn what_one_lacks_all_do_without() {
        let level = |name, other| level((Mode::Auto, Some("br1")), name, other);
        assert_eq!(level("eth0", None), Level::Below("br1"));
        assert_eq!(level("eth0", Some(Generic)), Level::Below("br1"));
        assert_eq!(level("br1", Some(Generic)), Level::Below("br1"));
    }

    #[test]
    fn one_that_is_alone_is_tried_again() {
        assert_eq!(level((Mode::Auto, Some("br1")), "br1", None), Level::Asked);
        assert_eq!(level((Mode::Auto, None), "eth0", None), Level::Asked);
    }

    #[test]
    fn beside_native_ones_another_is_native_or_nothing() {
        assert_eq!(level((Mode::Auto, None), "eth0", Some(Native)), Level::Native);
        assert_eq!(level((Mode::Auto, Some("eth0")), "eth0", Some(Native)), Level::Native);
    }

    #[test]
    fn a_mode_that_was_asked_for_is_what_all_get() {
        for mode in [Mode::Native, Mode::Generic, Mode::Tc, Mode::Clsact] {
            assert_eq!(level((mode, None), "eth0", Some(Native)), Level::Asked);
        }
    }
}
