//! Text that is not TOML.

use super::row::{check, first, in_service, instead, last, row};

#[test]
fn broken_toml_is_refused_with_its_place() {
    check([
        row("text without quotes", instead(&[(r#"name = "web""#, "name = web")]))
            .at("2:8")
            .says("text must be quoted")
            .marks("expected text in quotes")
            .helps(r#"write "web""#),
        row("a value left out", instead(&[(r#"name = "web""#, "name =")]))
            .at("2:7")
            .says("a value is missing")
            .marks("expected a value")
            .helps("write the value after the `=`, or remove the line"),
        row("a quote left open", instead(&[(r#"name = "web""#, r#"name = "web"#)]))
            .at("2:12")
            .says("not valid TOML: invalid basic string")
            .marks(r#"expected `"`"#)
            .helps(r#"put `"` at the mark"#),
        row("a header left open", instead(&[("[[service]]", "[[service")]))
            .at("1:10")
            .says("not valid TOML: unclosed array table")
            .marks("expected `]]`")
            .helps("put `]]` at the mark"),
        row("a key given twice", in_service(r#"name = "api""#))
            .at("5:1")
            .says("`name` is given twice")
            .marks("expected each key once")
            .helps("remove one of the two lines"),
        row("a number with a leading zero", last("weight = 007"))
            .at("9:10")
            .says("not valid TOML: unexpected leading zero")
            .marks("expected nothing")
            .helps("remove what is at the mark"),
        row("a line that is no setting", first("hello"))
            .at("1:6")
            .says("not valid TOML: key with no value")
            .marks("expected `=`")
            .helps("put `=` at the mark"),
        row("a control character", instead(&[(r#"name = "web""#, "name = \"we\u{7}b\"")]))
            .at("2:11")
            .says("not valid TOML: invalid basic string")
            .marks(r"expected non-double-quote visible characters, `\`")
            .helps("rewrite what is at the mark"),
        row("an unknown escape", instead(&[(r#"name = "web""#, r#"name = "we\qb""#)]))
            .at("2:12")
            .says("not valid TOML: missing escaped value")
            .marks(r#"expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`"#)
            .helps("rewrite what is at the mark"),
    ]);
}
