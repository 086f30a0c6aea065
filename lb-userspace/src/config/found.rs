//! What became of a key: absent, refused, or a value with its place.

use std::ops::Range;

/// A key's value. *Absent* and *unfit* differ: the first takes the default, the second has been reported and must not
/// lead to a second mistake about a default the operator did not ask for.
#[derive(Clone, Debug)]
pub(super) enum Found<T> {
    Absent,
    Unfit,
    Given { span: Range<usize>, value: T },
}

impl<T> Found<T> {
    /// The value, if one was given that fits.
    pub(super) fn given(&self) -> Option<&T> {
        self.spanned().map(|(_, value)| value)
    }

    /// The value and its place.
    pub(super) fn spanned(&self) -> Option<(Range<usize>, &T)> {
        match self {
            Self::Given { span, value } => Some((span.clone(), value)),
            _ => None,
        }
    }

    /// The value, `default` if the key was absent, and `None` if it was unfit.
    pub(super) fn or(&self, default: T) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::Absent => Some(default),
            Self::Unfit => None,
            Self::Given { value, .. } => Some(value.clone()),
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Found<U> {
        self.and_then(|value| Some(change(value)))
    }

    /// Like [`Found::map`]; a value that changes to `None` was unfit.
    pub(super) fn and_then<U>(self, change: impl FnOnce(T) -> Option<U>) -> Found<U> {
        match self {
            Self::Absent => Found::Absent,
            Self::Unfit => Found::Unfit,
            Self::Given { span, value } => match change(value) {
                Some(value) => Found::Given { span, value },
                None => Found::Unfit,
            },
        }
    }
}
