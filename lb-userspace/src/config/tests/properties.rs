//! What holds for any text.

use proptest::prelude::*;

use super::row::GOOD;
use crate::config::{Loaded, Mistakes, parse};

/// Pieces of configurations, which make stranger files than random letters do.
const PIECES: [&str; 30] = [
    "[[service]]\n",
    "[service]\n",
    "[[service.backend]]\n",
    "[nat]\n",
    "[limits]\n",
    "[service.health]\n",
    "name",
    "vip",
    "forward",
    "health",
    "backend",
    "weight",
    "ports",
    "flows",
    "seed",
    " = ",
    "\"web\"",
    "\"nat\"",
    "\"10.0.0.1:80\"",
    "\"[::1]:80\"",
    "{ tcp = true }",
    "[{}]",
    "{",
    "]",
    "\n",
    "0",
    "-1",
    "1e400",
    "2024-01-01",
    "\u{feff}é\r\n",
];

/// Every place of every message is one of the text, and drawing it works.
fn places_are_in(text: &str, result: &Result<Loaded, Mistakes>) {
    let mistakes = match result {
        Ok(loaded) => loaded.warnings.iter(),
        Err(mistakes) => mistakes.iter(),
    };
    for mistake in mistakes {
        assert!((1..=text.split('\n').count()).contains(&mistake.place.line), "{mistake}");
        assert!((1..=mistake.place.source.chars().count() + 1).contains(&mistake.place.column), "{mistake}");
        assert!(mistake.to_string().contains(&mistake.message));
        assert!(!mistake.label.is_empty() && mistake.help.is_some(), "nothing to mend it: {mistake}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_model_or_mistakes(text in any::<String>()) {
        places_are_in(&text, &parse("any", &text));
    }

    #[test]
    fn any_pieces_of_a_configuration_are_a_model_or_mistakes(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)
    ) {
        let text = pieces.concat();
        places_are_in(&text, &parse("pieces", &text));
    }

    #[test]
    fn a_good_configuration_spoilt_anywhere_is_a_model_or_mistakes(
        at in 0..GOOD.len(), length in 0..12usize, with in "[ -~\n\\p{L}]{0,6}"
    ) {
        let end = (at + length).min(GOOD.len());
        let text = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        places_are_in(&text, &parse("spoilt", &text));
    }
}
