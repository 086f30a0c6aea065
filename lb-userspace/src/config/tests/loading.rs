//! Reading a file.

use std::path::Path;

use super::row::GOOD;
use crate::config::{Error, load};

fn load_bytes(bytes: &[u8]) -> Result<usize, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    load(file.path()).map(|loaded| loaded.config.services.len())
}

#[test]
fn a_file_is_read_and_parsed() {
    assert_eq!(load_bytes(GOOD.as_bytes()).unwrap(), 1);
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nonexistent/lb.toml")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
    assert_eq!(error.to_string(), "cannot read the configuration /nonexistent/lb.toml");
}

#[test]
fn bytes_that_are_no_text_have_a_line() {
    let error = load_bytes(b"# one\n# two \xff\n").unwrap_err();
    assert!(matches!(error, Error::Encoding { line: 2, .. }), "{error}");
}

#[test]
fn mistakes_carry_the_path() {
    let error = load_bytes(b"x = 1\n").unwrap_err();
    let Error::Mistakes(mistakes) = error else { panic!("{error}") };
    assert!(mistakes.iter().all(|mistake| Path::new(&mistake.file).is_absolute()));
}
