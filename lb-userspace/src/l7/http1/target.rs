//! Request targets, in all four forms. Source: RFC 9112, section 3.2.

use super::Refusal;

/// How a target was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `http://example.org/path?query`
    Absolute,
    /// `example.org:443`, of CONNECT
    Authority,
    /// `*`, of OPTIONS, or `http://example.org`, which says the same there
    Asterisk,
}

/// A target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    pub(super) form: Form,
    /// The authority and the port that goes without saying.
    pub(super) authority: Option<(&'b str, u16)>,
    pub(super) path: &'b str,
    pub(super) query: Option<&'b str>,
}

/// Takes a target apart; the method says which forms it may have.
#[inline]
pub(super) fn split_target<'b>(method: &str, target: &'b str) -> Result<Target<'b>, Refusal> {
    let is_connect = method == "CONNECT";
    if target.starts_with('/') && !is_connect {
        return split_path(Form::Origin, None, target);
    }
    match (is_connect, target) {
        (true, _) => authority_form(target),
        (false, "*") if method == "OPTIONS" => {
            Ok(Target { form: Form::Asterisk, authority: None, path: "*", query: None })
        }
        (false, _) => absolute_form(method, target),
    }
}

fn authority_form(target: &str) -> Result<Target<'_>, Refusal> {
    let is_authority = target.contains(':') && !target.contains(['/', '?', '#']);
    if !is_authority {
        return Err(Refusal::TargetForm);
    }
    Ok(Target { form: Form::Authority, authority: Some((target, 0)), path: "", query: None })
}

fn absolute_form<'b>(method: &str, target: &'b str) -> Result<Target<'b>, Refusal> {
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::TargetForm)?;
    let port = if scheme.eq_ignore_ascii_case("http") {
        80
    } else if scheme.eq_ignore_ascii_case("https") {
        443
    } else {
        return Err(Refusal::Scheme);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let authority = Some((authority, port));
    if rest.is_empty() && method == "OPTIONS" {
        // RFC 9112, section 3.2.4.
        return Ok(Target { form: Form::Asterisk, authority, path: "*", query: None });
    }
    split_path(Form::Absolute, authority, rest)
}

/// Looks at each byte once, for what no URI has and for the query's beginning.
fn split_path<'b>(
    form: Form,
    authority: Option<(&'b str, u16)>,
    target: &'b str,
) -> Result<Target<'b>, Refusal> {
    let mut question = None;
    for (at, &byte) in target.as_bytes().iter().enumerate() {
        match byte {
            b'?' if question.is_none() => question = Some(at),
            b'#' => return Err(Refusal::Fragment),
            b'!'..=b'~' => {}
            _ => return Err(Refusal::Target),
        }
    }
    let (path, query) = match question.and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (target, None),
    };
    // RFC 9112, section 3.2.1: an empty path is `/`.
    Ok(Target { form, authority, path: if path.is_empty() { "/" } else { path }, query })
}
