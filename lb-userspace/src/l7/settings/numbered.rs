//! Named things, each with a number that outlives reloads.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

/// The number of a `T`: small, so that what belongs to it can be kept in a [`Vec`].
pub struct Number<T>(u32, PhantomData<fn() -> T>);

impl<T> Number<T> {
    pub(super) fn new(number: usize) -> Self {
        Self(u32::try_from(number).unwrap_or(u32::MAX), PhantomData)
    }

    /// The place in a [`Vec`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl<T> Clone for Number<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Number<T> {}

impl<T> PartialEq for Number<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Number<T> {}

impl<T> Hash for Number<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Debug for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Things by number. A number is free again when no configuration names its thing any more.
#[derive(Debug)]
pub struct Numbered<T> {
    things: Vec<Option<Arc<T>>>,
    numbers: HashMap<Box<str>, Number<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { things: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T> Numbered<T> {
    /// The thing of this number.
    #[must_use]
    pub fn get(&self, number: Number<T>) -> Option<&Arc<T>> {
        self.things.get(number.index())?.as_ref()
    }

    /// The number of the thing of this name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<Number<T>> {
        self.numbers.get(name).copied()
    }

    /// The thing of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<T>> {
        self.get(self.number(name)?)
    }

    /// All of them by number.
    pub fn iter(&self) -> impl Iterator<Item = (Number<T>, &Arc<T>)> {
        let numbered = self.things.iter().enumerate();
        numbered.filter_map(|(at, thing)| Some((Number::new(at), thing.as_ref()?)))
    }

    /// One more than the greatest number: the length of a [`Vec`] that has a place for each.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.things.len()
    }

    /// What `make` makes of each of `sources` and of what was there under its name before. Each has the number that its name had.
    pub(super) fn follow<'a, S, E>(
        former: Option<&Self>,
        sources: &'a [S],
        name: impl Fn(&'a S) -> &'a str,
        mut make: impl FnMut(&'a S, Option<&Arc<T>>) -> Result<Arc<T>, E>,
    ) -> Result<Self, E> {
        let mut now = Self::numbering(former, sources.iter().map(&name));
        for source in sources {
            let thing = make(source, former.and_then(|former| former.by_name(name(source))))?;
            now.place(name(source), thing);
        }
        Ok(now)
    }

    fn place(&mut self, name: &str, thing: Arc<T>) {
        if let Some(place) = self.number(name).and_then(|number| self.things.get_mut(number.index())) {
            *place = Some(thing);
        }
    }

    /// The numbers alone.
    fn numbering<'a>(former: Option<&Self>, names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let kept = names.clone().filter_map(|name| Some((name, former?.number(name)?)));
        let mut numbers: HashMap<Box<str>, Number<T>> =
            kept.map(|(name, number)| (name.into(), number)).collect();
        let taken: Vec<usize> = numbers.values().map(|number| number.index()).collect();
        let mut free = (0..).filter(|number| !taken.contains(number));
        for name in names {
            if !numbers.contains_key(name) {
                numbers.extend(free.next().map(|number| (name.into(), Number::new(number))));
            }
        }
        let places = numbers.values().map(|number| number.index() + 1).max().unwrap_or(0);
        Self { things: std::iter::repeat_with(|| None).take(places).collect(), numbers }
    }
}
