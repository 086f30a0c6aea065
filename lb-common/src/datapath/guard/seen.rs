//! A packet as the guard asks it: parsed before, or read where something is asked.

use super::super::family::Family;
use super::super::plain;
use super::form::Form;
use crate::wire::{Packet, U16be};

/// A client's packet, as far as the guard sees it. What it does not hold, nobody is stopped for.
pub(super) trait Seen<A> {
    fn source(&self) -> Option<A>;
    fn destination(&self) -> Option<A>;
    fn source_port(&self) -> Option<U16be>;
    fn form(&self) -> Option<Form>;
}

/// One that was parsed.
pub(super) struct Parsed<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) source_port: Option<U16be>,
    pub(super) form: Form,
}

impl<A: Family> Seen<A> for Parsed<A> {
    #[inline(always)]
    fn source(&self) -> Option<A> {
        Some(self.source)
    }

    #[inline(always)]
    fn destination(&self) -> Option<A> {
        Some(self.destination)
    }

    #[inline(always)]
    fn source_port(&self) -> Option<U16be> {
        self.source_port
    }

    #[inline(always)]
    fn form(&self) -> Option<Form> {
        Some(self.form)
    }
}

/// A plain one, which is read where something is asked.
pub(super) struct Peeked<'a, P, const PROTOCOL: u8>(pub(super) &'a P);

impl<A: Family, P: Packet, const PROTOCOL: u8> Seen<A> for Peeked<'_, P, PROTOCOL> {
    #[inline(always)]
    fn source(&self) -> Option<A> {
        plain::source(self.0)
    }

    #[inline(always)]
    fn destination(&self) -> Option<A> {
        plain::destination(self.0)
    }

    #[inline(always)]
    fn source_port(&self) -> Option<U16be> {
        plain::source_port::<A>(self.0)
    }

    #[inline(always)]
    fn form(&self) -> Option<Form> {
        Some(Form::of(PROTOCOL, plain::control::<A>(self.0)?))
    }
}
