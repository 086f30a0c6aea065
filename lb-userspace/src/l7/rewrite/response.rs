//! The fields of an answer on their way to the client.

use super::location::Authorities;
use super::names::Names;
use super::request::Named;
use super::urls::{Form, unbind};
use super::{Constants, taken_out};
use crate::config::proxy::{Edits, Hsts};
use crate::l7::http1::belongs_into_head;
use crate::l7::message::FieldSink;
use crate::l7::message::Fields;

/// What is to be done with a field of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Drop,
    /// It has URLs, which may be a backend's own.
    Urls(Form),
    /// It may bind a cookie to a backend's host.
    Cookie,
    /// Passed on, and added where it is missing.
    Date,
}

/// Fields of one hop (RFC 9110, section 7.6.1), framing, and the offer of other ways to a backend (RFC 7838).
const DROPPED: [&str; 9] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "te",
    "proxy-connection",
    "proxy-authenticate",
    "alt-svc",
];

/// Fields with URLs that lead on, and how they stand in them.
const LEADING: [(&str, Form); 4] = [
    ("location", Form::Whole),
    ("content-location", Form::Whole),
    ("refresh", Form::Behind),
    ("link", Form::Bracketed),
];

/// A route's changes to answers, compiled, with what the whole proxy hides and says.
#[derive(Debug)]
pub struct ResponseEdits {
    names: Names<Treatment>,
    server: Option<Box<[u8]>>,
    /// Whether answers without a date are given one.
    adds_date: bool,
    constants: Constants,
}

/// What an answer's fields depend on besides themselves.
#[derive(Debug)]
pub struct ResponseContext<'a> {
    /// Whether the client came by TLS.
    pub https: bool,
    /// The host and port that it asked for; empty if it named none.
    pub authority: &'a str,
    /// What the backends call themselves.
    pub backends: &'a Authorities,
    /// What the listener says of `Strict-Transport-Security`.
    pub hsts: Option<&'a [u8]>,
    /// What is said of the time where the answer itself says nothing.
    pub date: Option<&'a [u8]>,
    /// A cookie that binds the client to its backend, as `Set-Cookie` has it.
    pub cookie: Option<&'a [u8]>,
    /// What the connection is upgraded to.
    pub upgrade: Option<&'a [u8]>,
    /// What its Connection names.
    pub named: Named<'a>,
}

impl ResponseEdits {
    /// `hide` are fields of backends that clients are not to see, `server` is what this proxy calls itself.
    pub fn new(edits: &Edits, hide: &[String], server: Option<&str>) -> Self {
        let taken: Vec<&str> = taken_out(edits).collect();
        let names = taken.iter().copied().chain(hide.iter().map(String::as_str)).chain(DROPPED);
        let names = names.map(|name| (name, Treatment::Drop));
        let server = server.filter(|_| !taken.contains(&"server"));
        let replaced = server.map(|_| ("server", Treatment::Drop));
        let leading = LEADING.map(|(name, form)| (name, Treatment::Urls(form)));
        let adds_date =
            !taken.contains(&"date") && !hide.iter().any(|name| name.eq_ignore_ascii_case("date"));
        let dated = adds_date.then_some(("date", Treatment::Date));
        Self {
            names: Names::new(
                names.chain(replaced).chain(leading).chain([("set-cookie", Treatment::Cookie)]).chain(dated),
            ),
            adds_date,
            server: server.map(|server| server.as_bytes().into()),
            constants: Constants::new(edits),
        }
    }

    /// Passes the fields of an answer on to `sink`, the changed and the new ones among them.
    pub fn apply<F: Fields + ?Sized>(
        &self,
        fields: &F,
        context: &ResponseContext<'_>,
        sink: &mut impl FieldSink,
    ) {
        let mut date = context.date.filter(|_| self.adds_date);
        for (name, value) in fields.each() {
            match self.names.find(name) {
                _ if context.named.has(name) => {}
                None => sink.put(name, value),
                Some(Treatment::Date) => {
                    date = None;
                    sink.put(name, value);
                }
                Some(Treatment::Drop) => {}
                Some(Treatment::Urls(form)) => {
                    sink.put(name, form.lead_back(value, context).as_deref().unwrap_or(value));
                }
                Some(Treatment::Cookie) => {
                    sink.put(name, unbind(value, context).as_deref().unwrap_or(value));
                }
            }
        }
        // Whoever passes an answer on says when it came, if nobody else did (RFC 9110, section 6.6.1).
        if let Some(date) = date {
            sink.add("date", date);
        }
        self.put_own(context, sink);
        self.constants.put(sink);
    }

    /// Whether a field of this name may stand behind a body: none that clients are not to see as it is, or by which the answer is
    /// read.
    #[must_use]
    pub fn passes_behind(&self, name: &str) -> bool {
        self.names.find(name).is_none() && !belongs_into_head(name)
    }

    /// Whether answers that tell no date are given one, as those of our own are (RFC 9110, section 6.6.1).
    #[must_use]
    pub const fn adds_date(&self) -> bool {
        self.adds_date
    }

    /// The one field of an answer of our own besides its date, and what the route puts beside it or in its place.
    pub fn edit_own(&self, (name, value): (&str, &[u8]), sink: &mut impl FieldSink) {
        if self.names.find(name) != Some(Treatment::Drop) {
            sink.put(name, value);
        }
        self.constants.put(sink);
    }

    /// The fields that this proxy says on answers of its own, too.
    pub fn put_own(&self, context: &ResponseContext<'_>, sink: &mut impl FieldSink) {
        if let Some(token) = context.upgrade {
            sink.add("connection", b"upgrade");
            sink.add("upgrade", token);
        }
        let own = [
            ("server", self.server.as_deref()),
            ("strict-transport-security", context.hsts),
            ("set-cookie", context.cookie),
        ];
        own.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .for_each(|(name, value)| sink.add(name, value));
    }
}

/// What `Strict-Transport-Security` says. Source: RFC 6797, section 6.1.
pub(in crate::l7) fn written_hsts(hsts: &Hsts) -> String {
    let subdomains = if hsts.subdomains { "; includeSubDomains" } else { "" };
    let preload = if hsts.preload { "; preload" } else { "" };
    format!("max-age={}{subdomains}{preload}", hsts.max_age.as_secs())
}
