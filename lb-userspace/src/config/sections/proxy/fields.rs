//! Keys of changes to fields.

use super::super::super::keys::{Form, Key, Presence, Section, Value};

/// Changes to the fields of a head.
pub(in crate::config) static EDITS: Section = Section {
    title: "request = { … }",
    meaning: "Changes to fields, inside the braces of `request` or `response`: what is removed goes first, then what is set, then what is added.",
    keys: &[
        Key {
            name: "add",
            value: Value::Tables(&ADD),
            presence: Presence::Optional("nothing"),
            example: "add = [{ name = \"x-edge\", value = \"1\" }]",
            meaning: "Fields to put beside those of the same name.",
            why: "",
        },
        Key {
            name: "set",
            value: Value::Tables(&SET),
            presence: Presence::Optional("nothing"),
            example: "set = [{ name = \"x-edge\", value = \"1\" }]",
            meaning: "Fields to put in place of those of the same name.",
            why: "",
        },
        Key {
            name: "remove",
            value: Value::Texts(Form::Field),
            presence: Presence::Optional("nothing"),
            example: "remove = [\"x-debug\"]",
            meaning: "Names of fields to take out.",
            why: "",
        },
    ],
};

const NAME: Key = Key {
    name: "name",
    value: Value::Text(Form::Field),
    presence: Presence::Required,
    example: "name = \"x-edge\"",
    meaning: "Name of the field. Not one that the connection itself is ruled by, such as `content-length`.",
    why: "",
};

const VALUE: Key = Key {
    name: "value",
    value: Value::Text(Form::FieldValue),
    presence: Presence::Required,
    example: "value = \"1\"",
    meaning: "What it says.",
    why: "",
};

/// A field to add.
pub(in crate::config) static ADD: Section =
    Section { title: "add = [{ … }]", meaning: "A field to add.", keys: &[NAME, VALUE] };

/// A field to set.
pub(in crate::config) static SET: Section =
    Section { title: "set = [{ … }]", meaning: "A field to set.", keys: &[NAME, VALUE] };
