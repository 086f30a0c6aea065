//! What a route asks for besides host and path.

use std::borrow::Cow;

use regex::bytes::Regex;

use crate::config::proxy::{self, Route, whole_match};
use crate::l7::message::{Fields, Request};

/// A route's conditions, and what it leads to.
#[derive(Debug)]
pub(super) struct Rule<T> {
    methods: Box<[String]>,
    fields: Box<[Condition]>,
    cookies: Box<[Condition]>,
    query: Box<[Condition]>,
    leads_to: T,
}

impl<T> Rule<T> {
    pub(super) fn new(route: &Route, leads_to: T) -> Result<Self, regex::Error> {
        Ok(Self {
            methods: route.methods.clone().into(),
            fields: conditions(&route.headers)?,
            cookies: conditions(&route.cookies)?,
            query: conditions(&route.query)?,
            leads_to,
        })
    }

    pub(super) const fn leads_to(&self) -> &T {
        &self.leads_to
    }

    /// Its place among rules of one path: the smaller goes first.
    pub(super) fn rank(&self) -> impl Ord + use<T> {
        use std::cmp::Reverse;
        let fields = self.fields.len() + self.cookies.len();
        (self.methods.is_empty(), Reverse(fields), Reverse(self.query.len()))
    }

    /// Whether all conditions hold.
    pub(super) fn takes<F: Fields + ?Sized>(&self, request: &Request<'_, F>) -> bool {
        let method = self.methods.is_empty() || self.methods.iter().any(|method| method == request.method);
        method
            && self.fields.iter().all(|field| field.holds(request.fields.all(&field.name)))
            && self.cookies.iter().all(|cookie| cookie.holds(all_cookies(request.fields, &cookie.name)))
            && self.query.iter().all(|condition| condition.holds_in_query(request.query))
    }
}

fn conditions(conditions: &[proxy::Condition]) -> Result<Box<[Condition]>, regex::Error> {
    conditions.iter().map(Condition::new).collect()
}

/// What a value of this name must be.
#[derive(Debug)]
struct Condition {
    name: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Is(Box<[u8]>),
    Matches(Regex),
    Present,
    Absent,
}

impl Condition {
    fn new(condition: &proxy::Condition) -> Result<Self, regex::Error> {
        let test = match &condition.test {
            proxy::Test::Is(value) => Test::Is(value.as_bytes().into()),
            proxy::Test::Matches(text) => Test::Matches(Regex::new(&whole_match(text))?),
            proxy::Test::Present => Test::Present,
            proxy::Test::Absent => Test::Absent,
        };
        Ok(Self { name: condition.name.as_str().into(), test })
    }

    /// Whether it holds of any of the values of its name.
    fn holds<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        match &self.test {
            Test::Is(value) => values.any(|other| other == &**value),
            Test::Matches(expression) => values.any(|value| expression.is_match(value)),
            Test::Present => values.next().is_some(),
            Test::Absent => values.next().is_none(),
        }
    }

    /// Whether it holds of a query's parameter, percent-encoding undone.
    fn holds_in_query(&self, query: Option<&str>) -> bool {
        let name = self.name.as_bytes();
        let parameters = query.into_iter().flat_map(|query| query.split('&'));
        let pairs = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs
            .filter(|(other, _)| Decoded(other.as_bytes()).eq(name.iter().copied()))
            .map(|(_, value)| value);
        match &self.test {
            Test::Is(expected) => values.any(|value| Decoded(value.as_bytes()).eq(expected.iter().copied())),
            Test::Matches(expression) => values.any(|value| expression.is_match(&decoded(value))),
            Test::Present => values.next().is_some(),
            Test::Absent => values.next().is_none(),
        }
    }
}

/// The values of all cookies of this name. Source: RFC 6265, section 5.4.
pub(in crate::l7) fn all_cookies<'a, F: Fields + ?Sized>(
    fields: &'a F,
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    fields.all("cookie").flat_map(|value| value.split(|&byte| byte == b';')).filter_map(move |pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })
}

/// The value of a query's parameter, as it was sent.
pub(in crate::l7) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(other, _)| Decoded(other.as_bytes()).eq(name.bytes())).map(|(_, value)| value)
}

/// Text of a query byte by byte, its encoding undone: `%41` is `A`, `+` a space. Source: URL standard, section 5.1.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.0 {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), rest)
            }
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(byte)
    }
}

/// The value of a hexadecimal digit.
const fn digit(letter: u8) -> u8 {
    match letter {
        b'0'..=b'9' => letter - b'0',
        _ => (letter | 0x20) - b'a' + 10,
    }
}

/// The whole value, borrowed where nothing is encoded.
fn decoded(value: &str) -> Cow<'_, [u8]> {
    if value.contains(['%', '+']) {
        Decoded(value.as_bytes()).collect::<Vec<_>>().into()
    } else {
        value.as_bytes().into()
    }
}
