//! Named things, each with a number that outlives reloads.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

/// The number of a `T`: a place among all, which is small, and which of those it is that had the place one after the other. So
/// whoever still holds the number of what is gone finds nothing, and not what took its place.
pub struct Number<T> {
    place: u32,
    stamp: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Number<T> {
    pub(super) fn new(place: usize, stamp: u32) -> Self {
        Self { place: u32::try_from(place).unwrap_or(u32::MAX), stamp, of: PhantomData }
    }

    const fn index(self) -> usize {
        self.place as usize
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
        (self.place, self.stamp) == (other.place, other.stamp)
    }
}

impl<T> Eq for Number<T> {}

impl<T> Hash for Number<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.place, self.stamp).hash(state);
    }
}

impl<T> fmt::Debug for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.stamp)
    }
}

/// What belongs to things that have numbers: a value for each number, or none.
#[derive(Debug)]
pub struct ByNumber<T, V>(Vec<Option<(Number<T>, V)>>);

impl<T, V: Clone> Clone for ByNumber<T, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, V> Default for ByNumber<T, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, V> ByNumber<T, V> {
    /// The value of this number.
    #[must_use]
    pub fn get(&self, number: Number<T>) -> Option<&V> {
        let (owner, value) = self.0.get(number.index())?.as_ref()?;
        (*owner == number).then_some(value)
    }

    /// Gives a number its value. What had the same place before is forgotten.
    pub fn put(&mut self, number: Number<T>, value: V) {
        if self.0.len() <= number.index() {
            self.0.resize_with(number.index() + 1, || None);
        }
        if let Some(place) = self.0.get_mut(number.index()) {
            *place = Some((number, value));
        }
    }

    /// All values by number.
    pub fn iter(&self) -> impl Iterator<Item = (Number<T>, &V)> {
        self.0.iter().flatten().map(|(number, value)| (*number, value))
    }
}

/// Things by number. A name keeps its number as long as configurations have it.
#[derive(Debug)]
pub struct Numbered<T> {
    things: ByNumber<T, Arc<T>>,
    numbers: HashMap<Box<str>, Number<T>>,
    /// The stamp of the numbers that are given next.
    stamp: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { things: ByNumber::default(), numbers: HashMap::new(), stamp: 0 }
    }
}

impl<T> Numbered<T> {
    /// The thing of this number.
    #[must_use]
    pub fn get(&self, number: Number<T>) -> Option<&Arc<T>> {
        self.things.get(number)
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
        self.things.iter()
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
            if let Some(number) = now.number(name(source)) {
                now.things.put(number, thing);
            }
        }
        Ok(now)
    }

    /// The numbers alone.
    fn numbering<'a>(former: Option<&Self>, names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let kept = names.clone().filter_map(|name| Some((name, former?.number(name)?)));
        let mut numbers: HashMap<Box<str>, Number<T>> =
            kept.map(|(name, number)| (name.into(), number)).collect();
        let taken: Vec<usize> = numbers.values().map(|number| number.index()).collect();
        let mut free = (0..).filter(|number| !taken.contains(number));
        let stamp = former.map_or(0, |former| former.stamp);
        for name in names {
            if !numbers.contains_key(name) {
                numbers.extend(free.next().map(|place| (name.into(), Number::new(place, stamp))));
            }
        }
        Self { things: ByNumber::default(), numbers, stamp: stamp.wrapping_add(1) }
    }
}
