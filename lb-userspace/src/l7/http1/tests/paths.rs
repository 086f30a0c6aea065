//! Paths.

use super::*;
use proptest::prelude::*;

#[test]
fn paths_have_one_form() {
    let rows: &[(&str, Result<&str, Refusal>)] = &[
        ("/", Ok("/")),
        ("/a/b.c/d-e_f~g", Ok("/a/b.c/d-e_f~g")),
        ("/%61%2D%2e%5F%7e", Ok("/a-._~")),
        ("/caf%c3%a9", Ok("/caf%C3%A9")),
        ("/a%20b%3f%23", Ok("/a%20b%3F%23")),
        ("/a/./b/../c", Ok("/a/c")),
        ("/a/b/..", Ok("/a/")),
        ("/a/.", Ok("/a/")),
        ("/a/%2e%2E/b", Ok("/b")),
        ("//a///b//", Ok("//a///b//")),
        ("/a//./b//", Ok("/a//b//")),
        ("/a//../b", Ok("/a/b")),
        ("/a//..", Ok("/a/")),
        ("//%2e", Ok("//")),
        ("/.well-known/x", Ok("/.well-known/x")),
        ("/a/...", Ok("/a/...")),
        ("/a;v=1/b", Ok("/a;v=1/b")),
        ("/@scope%2fname", Ok("/@scope%2Fname")),
        ("/%252e%252e/a", Ok("/%252e%252e/a")),
        ("/..", Err(Refusal::PathAboveRoot)),
        ("/a/../../b", Err(Refusal::PathAboveRoot)),
        ("/a%2f..%2fb", Err(Refusal::PathAmbiguous)),
        ("/a%2F%2e%2e", Err(Refusal::PathAmbiguous)),
        ("/..;/a", Err(Refusal::PathAmbiguous)),
        ("/a/.;x=1/b", Err(Refusal::PathAmbiguous)),
        ("/a\\b", Err(Refusal::PathBackslash)),
        ("/a%5cb", Err(Refusal::PathBackslash)),
        ("/a%00b", Err(Refusal::PathControl)),
        ("/a%0d%0ab", Err(Refusal::PathControl)),
        ("/a%7f", Err(Refusal::PathControl)),
        ("/a%", Err(Refusal::PathEscape)),
        ("/a%4", Err(Refusal::PathEscape)),
        ("/a%4g", Err(Refusal::PathEscape)),
        ("/a%+4", Err(Refusal::PathEscape)),
    ];
    for (path, expected) in rows {
        assert_eq!(normalise(path).as_deref(), expected.as_ref().copied(), "{path}");
    }
}

#[test]
fn routes_read_paths_without_empty_segments() {
    for (path, expected) in
        [("/", "/"), ("/a/b", "/a/b"), ("//", "/"), ("//a///b//", "/a/b/"), ("/é//é", "/é/é")]
    {
        assert_eq!(merged(path), expected, "{path}");
    }
    for (path, behind) in [("/api/x", "/x"), ("//api//x", "//x"), ("/api", ""), ("///api/", "/")] {
        assert_eq!(behind_merged(path, "/api".len()), behind, "{path}");
    }
}

/// Paths of the pieces that matter.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2F"),
        Just("%25"),
        Just(";"),
        Just("a"),
        Just("%61"),
        Just("%zz"),
        Just("\\"),
        Just("%00"),
        Just("%c3"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn the_one_form_is_its_own(path in paths()) {
        if let Ok(once) = normalise(&path) {
            prop_assert_eq!(normalise(&once), Ok(once.clone()));
            let routed = merged(&once);
            prop_assert!(!routed.contains("//"));
            prop_assert_eq!(normalise(&routed), Ok(routed.clone()));
        }
    }

    #[test]
    fn no_reader_finds_a_dot_segment_in_it(path in paths()) {
        if let Ok(path) = normalise(&path) {
            prop_assert!(path.starts_with('/'));
            let decoded = path.replace("%2F", "/");
            let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
            prop_assert!(!decoded.split('/').any(is_dots), "{}", path);
        }
    }
}
