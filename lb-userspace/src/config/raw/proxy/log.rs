//! `access_log` as written: its keys are independent of all others, so it is read into the model at once.

use super::super::super::finding::Report;
use super::super::super::proxy::{AccessLog, LogErrors, LogFormat};
use super::super::super::reader::Reader;
use super::super::super::value;

pub(in crate::config) fn access_log(log: &Reader<'_, '_>, report: &mut Report) -> Option<AccessLog> {
    let to = log.read("to", value::log_target, report);
    let format = log.read("format", value::log_format, report);
    let sample = log.read("sample", value::narrow, report);
    let errors = log.read("errors", value::choice, report);
    Some(AccessLog {
        to: to.given()?.clone(),
        format: format.or(LogFormat::Text)?,
        sample: sample.or(1)?,
        all_errors: errors.or(LogErrors::All)? == LogErrors::All,
    })
}
