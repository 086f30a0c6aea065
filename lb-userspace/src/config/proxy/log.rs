//! How requests are logged.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use super::super::model::{Choice, words};

/// `access_log`: a line for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogTarget,
    /// How they are written. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// One of so many requests is logged. Default 1, all.
    pub sample: u32,
    /// Whether all requests answered with 500 and more are, whatever `sample` says. Default true.
    pub all_errors: bool,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogTarget {
    /// `stdout`
    Stdout,
    /// The whole path of a file.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `text`: the combined log format, which all tools read.
    Text,
    /// `json`: an object a line, of all fields that there is something to tell of.
    Json,
    /// Text with fields in braces.
    Own(Vec<LogPiece>),
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// These words.
    Text(Cow<'static, str>),
    /// What is known of the exchange.
    Field(LogField),
    /// The value of a field of the request, by its name in lower case.
    Header(Cow<'static, str>),
}

const fn text(text: &'static str) -> LogPiece {
    LogPiece::Text(Cow::Borrowed(text))
}

const REFERER: LogPiece = LogPiece::Header(Cow::Borrowed("referer"));
const AGENT: LogPiece = LogPiece::Header(Cow::Borrowed("user-agent"));

/// Source: Apache's documentation, "Combined Log Format".
static COMBINED: [LogPiece; 14] = [
    LogPiece::Field(LogField::Client),
    text(" - - ["),
    LogPiece::Field(LogField::TimeCommon),
    text("] \""),
    LogPiece::Field(LogField::Request),
    text("\" "),
    LogPiece::Field(LogField::Status),
    text(" "),
    LogPiece::Field(LogField::BytesOut),
    text(" \""),
    REFERER,
    text("\" \""),
    AGENT,
    text("\""),
];

/// What an object has besides its fields.
static OF_JSON: [LogPiece; 2] = [REFERER, AGENT];

impl LogFormat {
    /// The pieces of a line, in order.
    #[must_use]
    pub fn pieces(&self) -> &[LogPiece] {
        match self {
            Self::Text => &COMBINED,
            Self::Json => &OF_JSON,
            Self::Own(pieces) => pieces,
        }
    }

    /// Reads a format of the operator's own: `{field}`, `{header:name}`, `{{` and `}}` for braces.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut words = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, behind) = rest.split_at(at);
            words.push_str(before);
            if let Some(after) = behind.strip_prefix("{{").or_else(|| behind.strip_prefix("}}")) {
                words.push_str(behind.get(..1).unwrap_or_default());
                rest = after;
                continue;
            }
            let inside = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
            let (name, after) = inside.ok_or(FormatError::Brace)?;
            if !words.is_empty() {
                pieces.push(LogPiece::Text(std::mem::take(&mut words).into()));
            }
            pieces.push(LogPiece::parse(name)?);
            rest = after;
        }
        words.push_str(rest);
        if !words.is_empty() {
            pieces.push(LogPiece::Text(words.into()));
        }
        Ok(Self::Own(pieces))
    }
}

impl LogPiece {
    fn parse(name: &str) -> Result<Self, FormatError> {
        if let Some(header) = name.strip_prefix("header:").filter(|header| !header.is_empty()) {
            return Ok(Self::Header(header.to_ascii_lowercase().into()));
        }
        let field = LogField::ALL.into_iter().find(|field| field.name() == name);
        field.map(Self::Field).ok_or_else(|| FormatError::Field(name.to_owned()))
    }
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// A brace that is never closed, or closes nothing.
    Brace,
    /// Braces around what is no field.
    Field(String),
}

macro_rules! fields {
    ($($variant:ident, $name:literal, $meaning:literal;)*) => {
        /// What a line may tell of an exchange.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum LogField {
            $(#[doc = $meaning] $variant,)*
        }

        impl LogField {
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];
            /// All of them with what stands before their value in an object that has begun.
            pub const KEYS: [(Self, &'static str); [$($name),*].len()] =
                [$((Self::$variant, concat!(",\"", $name, "\":"))),*];

            /// Its name in a format, and in an object.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

fields! {
    Time, "time", "When the exchange ended, as `2026-11-21T15:06:04.123456Z`.";
    TimeCommon, "time_common", "The same as the common log format has it.";
    Client, "client", "The client's address.";
    ClientPort, "client_port", "Its port.";
    Listener, "listener", "The listener's name.";
    Tls, "tls", "The version of TLS.";
    Sni, "sni", "The name that the client asked for in its TLS handshake.";
    Protocol, "protocol", "Such as `HTTP/1.1`.";
    Method, "method", "The method.";
    Host, "host", "The host that was asked for, without port.";
    Path, "path", "The path as it was sent.";
    Query, "query", "What stands behind `?`, as it was sent.";
    Request, "request", "Method, path, query and protocol, as the request line has them.";
    Status, "status", "The status of the answer; 499 where the client had gone before it.";
    BytesIn, "bytes_in", "Bytes of the request's body.";
    BytesOut, "bytes_out", "Bytes of the answer's body.";
    Duration, "duration", "Seconds from the request's first byte to the answer's last.";
    UpstreamTime, "upstream_time", "Seconds until the backend began to answer.";
    Route, "route", "The route's name; `*` for a listener's own service.";
    Service, "service", "The service's name.";
    Backend, "backend", "The backend's name.";
    Retries, "retries", "How often the request was sent again, to another backend.";
    RequestId, "request_id", "What `X-Request-Id` says to backends.";
    Failure, "failure", "Why the exchange failed, in one word.";
}

/// Which requests are logged that are answered with 500 and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogErrors {
    /// `all`
    All,
    /// `sampled`: as many as of others.
    Sampled,
}
words!(LogErrors { All = "all", Sampled = "sampled" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_words_fields_and_headers() {
        let parsed = LogFormat::parse("a {status} {{x}} {header:X-Y}").unwrap();
        let expected =
            [text("a "), LogPiece::Field(LogField::Status), text(" {x} "), LogPiece::Header("x-y".into())];
        assert_eq!(parsed.pieces(), expected);
    }

    #[test]
    fn braces_that_hold_no_field_are_mistakes() {
        assert_eq!(LogFormat::parse("{stats}"), Err(FormatError::Field("stats".to_owned())));
        assert_eq!(LogFormat::parse("{header:}"), Err(FormatError::Field("header:".to_owned())));
        for lone in ["{status", "status}", "{"] {
            assert_eq!(LogFormat::parse(lone), Err(FormatError::Brace), "{lone}");
        }
    }

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = LogField::ALL.iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), LogField::COUNT);
    }
}
