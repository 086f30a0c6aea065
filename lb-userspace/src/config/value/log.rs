//! Values of the access log.

use super::super::finding::Finding;
use super::super::keys::Key;
use super::super::proxy::{FormatError, LogField, LogFormat, LogTarget};
use super::super::suggest::nearest;
use super::{Written, file, text, unfit};

pub(in super::super) fn log_target(key: &Key, value: &Written<'_>) -> Result<LogTarget, Finding> {
    if text(key, value)? == "stdout" { Ok(LogTarget::Stdout) } else { file(key, value).map(LogTarget::File) }
}

/// A line break in it would make lines of one request look like two.
pub(in super::super) fn log_format(key: &Key, value: &Written<'_>) -> Result<LogFormat, Finding> {
    let format = text(key, value)?;
    match format {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ if !format.contains('{') || format.chars().any(char::is_control) => Err(unfit(key, value)),
        _ => LogFormat::parse(format).map_err(|error| unfit(key, value).help(help(&error))),
    }
}

fn help(error: &FormatError) -> String {
    match error {
        FormatError::Brace => {
            "close every `{` by `}` behind a field; write `{{` and `}}` for braces".to_owned()
        }
        FormatError::Field(name) => match nearest(name, LogField::ALL.iter().map(|field| field.name())) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None => format!("`{}` is no field: see `format` in CONFIG.md", name.escape_debug()),
        },
    }
}
