//! One level for all interfaces. Native XDP hands a frame to an interface only if its driver takes such frames, generic XDP and
//! TC to any: so where the operator left the choice to us, all interfaces are native, or none is. If one comes back that
//! cannot be, the others go down to TC.

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
    /// Whether one waits for the programs for TC.
    is_one_waiting: bool,
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
        Self { loader, program, mode, lacking: None, is_one_waiting: false }
    }

    /// Attaches to all of these.
    pub(super) fn attach_all(&mut self, links: &[Link]) -> Result<Vec<Attachment>, AttachError> {
        let attached: Vec<_> = links.iter().map(|link| self.attach(link, None)).collect::<Result<_, _>>()?;
        if let (Some(lacking), true) = (&self.lacking, links.len() > 1) {
            tracing::warn!("native XDP is not used: {}", why_below(lacking));
        }
        attached.into_iter().map(|attachment| self.lower(attachment)).collect()
    }

    /// Attaches to one that came later, beside others. If it cannot be, says why.
    pub(super) fn attach_beside(
        &mut self,
        link: &Link,
        others: &mut [&mut Attachment],
    ) -> Result<Attachment, String> {
        let other = others.first().map(|other| other.mode).filter(|_| self.program.sends());
        let level = level((self.mode, self.lacking.as_deref()), &link.name, other);
        let is_native = level == Level::Native;
        self.is_one_waiting = false;
        match self.attach(link, other) {
            Err(AttachError::Refused { .. }) if is_native => self.attach_below(link, others),
            attached => attached.map_err(|error| chain(&error)),
        }
    }

    /// Whether one can be attached that was waiting for the programs for TC.
    pub(super) fn can_go_on(&self) -> bool {
        self.is_one_waiting && self.loader.prepared_at_tc().is_some()
    }

    /// Attaches to one without native XDP, and has the native ones go down to TC. Not to generic XDP: an interface has a native program
    /// or a generic one, never both (`dev_xdp_attach` of the kernel), and what comes between the two goes to the host's own stack,
    /// which resets connections through `nat` that it knows nothing of.
    fn attach_below(&mut self, link: &Link, others: &mut [&mut Attachment]) -> Result<Attachment, String> {
        self.loader.prepare_at_tc(self.program);
        let Some(prepared) = self.loader.prepared_at_tc() else {
            self.is_one_waiting = true;
            return Err(LOADING.to_owned());
        };
        let why = why_below(&link.name);
        prepared.map_err(|error| why_refused(&error))?;
        let attached = self.loader.attach(self.program, link, &BELOW_NATIVE);
        let mut attachment = attached.map_err(|error| chain(&error))?;
        attachment.steps.insert(0, Step { mode: AttachedMode::Native, reason: why.clone() });
        self.loader.lower(self.program, others, &why).map_err(|error| why_refused(&chain(&error)))?;
        tracing::warn!("native XDP is not used any more: {why}");
        self.lacking = Some(link.name.clone());
        Ok(attachment)
    }

    fn attach(&mut self, link: &Link, other: Option<AttachedMode>) -> Result<Attachment, AttachError> {
        let Self { loader, program, mode, lacking, .. } = self;
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
                let is_lower = *mode == Mode::Auto && attachment.mode != AttachedMode::Native;
                let lacks = is_lower && program.sends();
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

/// Why an interface that came back has to wait.
const LOADING: &str =
    "it has no native XDP; the programs for TC are being loaded, where the others go for it";

fn why_refused(error: &str) -> String {
    format!(
        "the other interfaces are native, their frames would not reach it in another mode, and they cannot go down to TC; mend \
         what follows, or restart the daemon, and none is native: {error}"
    )
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
