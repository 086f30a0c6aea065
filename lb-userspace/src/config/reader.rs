//! One table of the file against the definition of its section.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::finding::{Finding, Report};
use super::found::Found;
use super::keys::{Key, Presence, Section, Value};
use super::sections;
use super::suggest::nearest;
use super::value::{Written, quoted, unfit};

/// A table whose keys are all known, or have been reported. Values are read one by one, by the name of their key.
pub(super) struct Reader<'t, 'a> {
    section: &'static Section,
    table: &'t DeTable<'a>,
    span: Range<usize>,
}

impl<'t, 'a> Reader<'t, 'a> {
    /// The whole file.
    pub(super) fn file(table: &'t DeTable<'a>, report: &mut Report) -> Self {
        Self { section: &sections::FILE, table, span: 0..0 }.opened(report)
    }

    /// Where the table stands: its header, or its braces.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the key `name` is there, fit or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The value of the key `name` as `parse` sees it.
    pub(super) fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&'static Key, &'t Written<'a>) -> Result<T, Finding>,
        report: &mut Report,
    ) -> Found<T> {
        let Some((key, value)) = self.entry(name) else { return Found::Absent };
        match report.keep(parse(key, value)) {
            Some(parsed) => Found::Given { span: value.span(), value: parsed },
            None => Found::Unfit,
        }
    }

    /// The table that is the value of the key `name`.
    pub(super) fn table(&self, name: &str, report: &mut Report) -> Found<Self> {
        self.read(name, Self::unopened, report).map(|reader| reader.opened(report))
    }

    /// The tables that are the value of the key `name`. What is no table among them is reported and left out; a list of
    /// nothing else is unfit.
    pub(super) fn tables(&self, name: &str, report: &mut Report) -> Found<Vec<Self>> {
        let own = |key: &'static Key| key.section().unwrap_or(self.section);
        self.tables_of(name, |key, _| own(key), report)
    }

    /// Like [`Reader::tables`], where `choose` says by a table which section's it is.
    pub(super) fn tables_of(
        &self,
        name: &str,
        choose: impl Fn(&'static Key, &DeTable<'_>) -> &'static Section,
        report: &mut Report,
    ) -> Found<Vec<Self>> {
        self.read(name, |key, value| Ok((key, as_array(key, value)?)), report).and_then(|(key, items)| {
            let mut readers = Vec::new();
            for item in items {
                let reader = report.keep(Self::unopened(key, item));
                let chosen = reader.map(|reader| Self { section: choose(key, reader.table), ..reader });
                readers.extend(chosen.map(|reader| reader.opened(report)));
            }
            (items.is_empty() || !readers.is_empty()).then_some(readers)
        })
    }

    /// The texts that are the value of the key `name`, of which one may stand alone. What does not fit is reported and left out.
    pub(super) fn texts<T>(
        &self,
        name: &str,
        parse: impl Fn(&'static Key, &'t Written<'a>) -> Result<T, Finding>,
        report: &mut Report,
    ) -> Found<Vec<(Range<usize>, T)>> {
        let Some((key, value)) = self.entry(name) else { return Found::Absent };
        let all: Vec<&'t Written<'a>> =
            value.get_ref().as_array().map_or(vec![value], |items| items.iter().collect());
        let one = |item: &&'t Written<'a>| Some((item.span(), report.keep(parse(key, item))?));
        let parsed: Vec<_> = all.iter().filter_map(one).collect();
        let fit = parsed.len() == all.len();
        if fit { Found::Given { span: value.span(), value: parsed } } else { Found::Unfit }
    }

    /// Whether it is a table of this section.
    pub(super) fn is_of(&self, section: &'static Section) -> bool {
        std::ptr::eq(self.section, section)
    }

    /// The table that is the value of `key`, its own keys not yet checked.
    pub(super) fn unopened(key: &'static Key, value: &'t Written<'a>) -> Result<Self, Finding> {
        match (key.section(), value.get_ref().as_table()) {
            (Some(section), Some(table)) => Ok(Self { section, table, span: value.span() }),
            _ => Err(unfit(key, value)),
        }
    }

    /// Reports unknown and missing keys.
    pub(super) fn opened(self, report: &mut Report) -> Self {
        self.unknown().for_each(|key| report.add(unknown_key(self.section, key.get_ref(), key.span())));
        let missing = self
            .section
            .keys
            .iter()
            .filter(|key| is_required(key) && !self.has(key.name) && !self.means(key));
        missing.for_each(|key| report.add(self.missing_key(key)));
        self
    }

    /// Whether an unknown key is probably this one: then that is the mistake, not that this one is missing.
    fn means(&self, key: &Key) -> bool {
        self.unknown().any(|unknown| nearest(unknown.get_ref(), self.section.names()) == Some(key.name))
    }

    fn unknown(&self) -> impl Iterator<Item = &'t Spanned<DeString<'a>>> {
        self.table.keys().filter(|key| self.section.key(key.get_ref()).is_none())
    }

    fn entry(&self, name: &str) -> Option<(&'static Key, &'t Written<'a>)> {
        let key = self.section.key(name);
        debug_assert!(key.is_some(), "`{name}` has no definition in {}", self.section.title);
        Some((key?, self.table.get(name)?))
    }

    fn missing_key(&self, key: &Key) -> Finding {
        let name = self.table.get("name").and_then(|name| name.get_ref().as_str());
        let whose = name.map_or(String::new(), |name| format!(" {}", quoted(name)));
        Finding::shape(self.span(), format!("`{}`{whose} lacks the key `{}`", self.section.title, key.name))
            .label(format!("expected `{}`: {}", key.name, key.value))
            .help(format!("add `{}`", key.example))
    }
}

/// Lists of tables have a check of their own ("no backend"), which says it better.
fn is_required(key: &Key) -> bool {
    matches!(key.presence, Presence::Required) && !matches!(key.value, Value::Tables(_))
}

fn as_array<'t, 'a>(key: &Key, value: &'t Written<'a>) -> Result<&'t DeArray<'a>, Finding> {
    match value.get_ref() {
        DeValue::Array(items) => Ok(items),
        DeValue::Table(_) => {
            Err(unfit(key, value).help(format!("write the header with two brackets: `{}`", key.example)))
        }
        _ => Err(unfit(key, value)),
    }
}

fn unknown_key(section: &Section, name: &str, span: Range<usize>) -> Finding {
    let keys: Vec<_> = section.names().map(|name| format!("`{name}`")).collect();
    Finding::shape(span, format!("unknown key `{}` {}", name.escape_debug(), section.place()))
        .label(format!("expected one of {}", keys.join(", ")))
        .help(unknown_key_help(section, name))
}

fn unknown_key_help(section: &Section, name: &str) -> String {
    if let Some(meant) = nearest(name, section.names()) {
        return format!("did you mean `{meant}`?");
    }
    if std::ptr::eq(section, &raw const sections::HTTP_SERVICE) && sections::SERVICE.key(name).is_some() {
        return format!("`{name}` is a service's of packets: remove it, or `kind = \"http\"`");
    }
    match sections::ALL.iter().find(|other| other.key(name).is_some()) {
        Some(home) if home.is_inline() => format!("`{name}` belongs {}", home.place()),
        Some(home) => {
            format!("`{name}` belongs {}: in TOML a key belongs to the last header above it", home.place())
        }
        None => "remove it: a setting without effect would mislead whoever reads the file".to_owned(),
    }
}
