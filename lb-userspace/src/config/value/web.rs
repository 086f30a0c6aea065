//! Values of layer 7: hosts, methods, names and values of fields, regular expressions.

use std::net::IpAddr;

use regex::Regex;

use super::super::bounds::MAX_HOST;
use super::super::finding::Finding;
use super::super::keys::Key;
use super::super::proxy::{HashOn, HostPattern};
use super::{Written, digits, narrow, path, text, text_that, unfit};

/// Longest name of a field or a cookie.
const LONGEST_NAME: usize = 128;

/// Source: RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(letter)
}

pub(in super::super) fn field(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text_that(key, value, is_token).map(|name| name.to_ascii_lowercase()).map_err(|finding| {
        match value.get_ref().as_str().and_then(|text| text.strip_suffix(':')) {
            Some(name) if is_token(name) => finding.help(format!("write \"{name}\", without the colon")),
            _ => finding,
        }
    })
}

pub(in super::super) fn cookie_name(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text_that(key, value, is_token)
}

pub(in super::super) fn field_value(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    let fits = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    text_that(key, value, fits)
}

pub(in super::super) fn body(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text(key, value).map(str::to_owned)
}

/// Methods have a case, so one in small letters is hardly meant.
pub(in super::super) fn method(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    let name = text_that(key, value, is_token)?;
    match name.to_ascii_uppercase() {
        upper if upper != name => {
            Err(unfit(key, value).help(format!("methods have a case: write \"{upper}\"")))
        }
        _ => Ok(name),
    }
}

pub(in super::super) fn regex(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    let expression = text(key, value)?;
    let said =
        |error: regex::Error| error.to_string().lines().last().unwrap_or_default().replace("error: ", "");
    match Regex::new(expression) {
        Ok(_) => Ok(expression.to_owned()),
        Err(error) => Err(unfit(key, value).label(format!("expected a regular expression: {}", said(error)))),
    }
}

/// A path as requests are routed by: without a query, as it is after dot segments are resolved, and with one slash for several.
pub(in super::super) fn route_path(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    let path = path(key, value)?;
    if path.contains(['?', '#']) {
        return Err(unfit(key, value)
            .label("expected a path without a query")
            .help("match parameters by `query`"));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(unfit(key, value)
            .label("expected a path without `.` and `..`")
            .help("write it as it is when these are resolved"));
    }
    if path.contains("//") {
        return Err(unfit(key, value)
            .label("expected a path without empty segments")
            .help("write one slash for several: requests with more are routed by it, too"));
    }
    Ok(path)
}

/// The path of a prefix, without a slash at its end.
pub(in super::super) fn prefix_path(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    route_path(key, value).map(|path| path.trim_end_matches('/').to_owned())
}

pub(in super::super) fn redirect_status(key: &Key, value: &Written<'_>) -> Result<u16, Finding> {
    match narrow(key, value)? {
        status @ (301 | 302 | 303 | 307 | 308) => Ok(status),
        _ => Err(unfit(key, value).label("expected 301, 302, 303, 307 or 308")),
    }
}

/// Whether the scheme is `https`, else `http`.
pub(in super::super) fn is_https(key: &Key, value: &Written<'_>) -> Result<bool, Finding> {
    match text(key, value)? {
        "https" => Ok(true),
        "http" => Ok(false),
        _ => Err(unfit(key, value)),
    }
}

/// `example.org` or `example.org:8080`, as it goes into a Host field.
pub(in super::super) fn authority(key: &Key, value: &Written<'_>) -> Result<String, Finding> {
    text_that(key, value, |text| match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            is_host(host) && digits(port).is_some_and(|port| port > 0)
        }
        _ => is_host(text),
    })
}

pub(in super::super) fn host_pattern(key: &Key, value: &Written<'_>) -> Result<HostPattern, Finding> {
    let text = text(key, value)?.to_ascii_lowercase();
    let pattern = match text.strip_prefix('*') {
        Some(rest) => rest
            .strip_prefix('.')
            .filter(|rest| is_host(rest))
            .map(|_| HostPattern::Wildcard(rest.to_owned())),
        None => is_host(&text).then(|| HostPattern::Exact(bare(&text).to_owned())),
    };
    pattern.ok_or_else(|| {
        let without = text.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let host = without.rsplit_once(':').map_or(without, |(host, _)| host);
        if is_host(host) && host != text {
            unfit(key, value).help(format!("write \"{host}\": scheme and port are the listener's"))
        } else {
            unfit(key, value)
        }
    })
}

/// A host name, or an address, of IPv6 in brackets.
fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = (1..=MAX_HOST).contains(&text.len()) && text.bytes().all(letter) && !text.contains("..");
    name && !text.starts_with('.')
        || text.starts_with('[') && bare(text) != text && bare(text).parse::<IpAddr>().is_ok()
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

pub(in super::super) fn hash_on(key: &Key, value: &Written<'_>) -> Result<HashOn, Finding> {
    let found = match text(key, value)?.split_once(':') {
        None if value.get_ref().as_str() == Some("path") => Some(HashOn::Path),
        None if value.get_ref().as_str() == Some("host") => Some(HashOn::Host),
        Some(("header", name)) if is_token(name) => Some(HashOn::Header(name.to_ascii_lowercase())),
        Some(("cookie", name)) if is_token(name) => Some(HashOn::Cookie(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(HashOn::Query(name.to_owned())),
        _ => None,
    };
    found.ok_or_else(|| unfit(key, value))
}
