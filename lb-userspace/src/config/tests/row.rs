//! Rows of bad configurations: a sentence, the text, and the one mistake it must be refused with.

use crate::config::{Diagnostic, Place, parse};

/// A valid configuration, which rows spoil in one place.
pub(super) const GOOD: &str = r#"[[service]]
name = "web"
vip = "203.0.113.10:80"
forward = "nat"

[[service.backend]]
name = "web1"
addr = "10.0.0.11:8080"
"#;

/// The service of [`GOOD`] without its backend.
pub(super) const HEAD: &str = "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nforward = \"nat\"\n";

/// [`GOOD`] with a line before everything else.
pub(super) fn first(line: &str) -> String {
    format!("{line}\n{GOOD}")
}

/// [`GOOD`] with lines after everything else.
pub(super) fn last(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

/// [`GOOD`] with lines in its service.
pub(super) fn in_service(lines: &str) -> String {
    instead(&[("forward = \"nat\"", &format!("forward = \"nat\"\n{lines}"))])
}

/// [`HEAD`] with a line in place of its backend.
pub(super) fn alone(line: &str) -> String {
    format!("{HEAD}{line}\n")
}

/// [`GOOD`] with some of its lines replaced; by nothing takes the line out.
pub(super) fn instead(lines: &[(&str, &str)]) -> String {
    lines.iter().fold(GOOD.to_owned(), |text, (from, to)| {
        let to = if to.is_empty() { String::new() } else { format!("{to}\n") };
        assert!(text.contains(from), "no line {from:?} to replace");
        text.replacen(&format!("{from}\n"), &to, 1)
    })
}

/// [`GOOD`] with another VIP.
pub(super) fn vip(vip: &str) -> String {
    GOOD.replace("203.0.113.10:80", vip)
}

/// [`GOOD`] with a section behind it, its lines parted by semicolons.
pub(super) fn section(lines: &str) -> String {
    last(&lines.replace("; ", "\n"))
}

/// A service with these keys, parted by semicolons, and its backends, each by its address and what keys it has besides.
pub(super) fn service(vip: &str, keys: &str, backends: &[&str]) -> String {
    named("web", vip, keys, backends)
}

/// Two services of these VIPs.
pub(super) fn both(one: &str, other: &str) -> String {
    let local = "forward = \"local\"";
    named("web", one, local, &[]) + &named("other", other, local, &[])
}

/// Two `dnat` services, each by its VIP and its backend's address.
pub(super) fn translated(one: (&str, &str), other: (&str, &str)) -> String {
    let dnat = |name, (vip, addr): (&str, &str)| {
        named(name, vip, r#"forward = "dnat"; health = "none""#, &[&format!("\"{addr}\"")])
    };
    dnat("web", one) + &dnat("other", other)
}

/// A QUIC service with further keys.
pub(super) fn quic(keys: &str, backends: &[&str]) -> String {
    let quic = r#"forward = "dsr-ipip"; protocol = "udp"; select = "quic"; health = "none""#;
    service("203.0.113.10:80", &format!("{quic}{keys}"), backends)
}

/// The same of this name.
pub(super) fn named(name: &str, vip: &str, keys: &str, backends: &[&str]) -> String {
    let lines = |text: &str| text.replace("; ", "\n");
    let backend = |(number, keys): (u32, &&str)| {
        format!("\n[[service.backend]]\nname = \"{name}{number}\"\naddr = {}\n", lines(keys))
    };
    let backends: String = (1..).zip(backends).map(backend).collect();
    format!("[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\n{}\n{backends}", lines(keys))
}

/// A bad configuration and its mistake.
#[derive(Default)]
pub(super) struct Row {
    sentence: &'static str,
    text: String,
    at: &'static str,
    message: &'static str,
    label: &'static str,
    also: Option<(&'static str, &'static str)>,
    help: &'static str,
}

pub(super) fn row(sentence: &'static str, text: String) -> Row {
    Row { sentence, text, ..Row::default() }
}

impl Row {
    /// Line and column.
    pub(super) fn at(self, at: &'static str) -> Self {
        Self { at, ..self }
    }

    pub(super) fn says(self, message: &'static str) -> Self {
        Self { message, ..self }
    }

    pub(super) fn marks(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    pub(super) fn also(self, at: &'static str, message: &'static str) -> Self {
        Self { also: Some((at, message)), ..self }
    }

    pub(super) fn helps(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Exactly this mistake: one that draws others after it would bury what is wrong.
    fn check(&self) {
        let mistakes = parse("lb.toml", &self.text).expect_err(self.sentence);
        let mistakes: Vec<&Diagnostic> = mistakes.iter().collect();
        let [mistake] = mistakes[..] else { panic!("{}: not one mistake but {mistakes:#?}", self.sentence) };
        assert_eq!(at(&mistake.place), self.at, "{}", self.sentence);
        assert_eq!(mistake.message, self.message, "{}", self.sentence);
        assert_eq!(mistake.label, self.label, "{}", self.sentence);
        assert_eq!(mistake.help.as_deref(), Some(self.help), "{}", self.sentence);
        let also: Vec<_> =
            mistake.related.iter().map(|also| (at(&also.place), also.message.as_str())).collect();
        let expected: Vec<_> = self.also.iter().map(|(at, message)| ((*at).to_owned(), *message)).collect();
        assert_eq!(also, expected, "{}", self.sentence);
    }
}

fn at(place: &Place) -> String {
    format!("{}:{}", place.line, place.column)
}

pub(super) fn check(rows: impl IntoIterator<Item = Row>) {
    rows.into_iter().for_each(|row| row.check());
}
