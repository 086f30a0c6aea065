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

#[test]
fn a_folder_and_a_pipe_are_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [folder.path(), &pipe] {
        assert!(matches!(load(path), Err(Error::NotAFile { .. })), "{}", path.display());
    }
}

#[test]
fn a_file_far_too_long_is_not_parsed() {
    let error = load_bytes(&vec![b'#'; 5 << 20]).unwrap_err();
    assert!(error.to_string().ends_with("is longer than 4 MiB; is it the right file?"), "{error}");
}

#[test]
fn a_file_full_of_mistakes_is_answered_with_the_first_of_them() {
    let said = load_bytes("x = 1\n".repeat(10_000).as_bytes()).unwrap_err().to_string();
    assert!(said.ends_with("200 mistakes or more; these come first"), "{}", said.len());
    assert!(said.len() < 100_000, "{} bytes", said.len());
}

#[test]
fn a_line_without_end_is_not_shown() {
    let said = load_bytes(format!("a = {}", "[".repeat(100_000)).as_bytes()).unwrap_err().to_string();
    assert!(said.contains("(the line is too long to show)"), "{}", said.len());
    assert!(said.len() < 200_000, "{} bytes", said.len());
}
