//! Paths that mean one thing to routes and another to backends.

use super::{Row, refused, understood};

pub(super) const ROWS: &[Row] = &[
    understood(
        "dot segments are taken out",
        b"GET /a/../b/./c HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET a /b/c \"\""],
    ),
    understood(
        "encoded dot segments too",
        b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET a /b \"\""],
    ),
    understood(
        "encoded letters are decoded",
        b"GET /%61dmin HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET a /admin \"\""],
    ),
    understood("empty segments stay", b"GET //admin HTTP/1.1\r\nHost: a\r\n\r\n", &["GET a //admin \"\""]),
    understood(
        "a path is decoded once",
        b"GET /%252e%252e/a HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET a /%252e%252e/a \"\""],
    ),
    understood(
        "dots in a query are data",
        b"GET /a?../%2e%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        &["GET a /a?../%2e%00 \"\""],
    ),
    refused("a path above its root", b"GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n", "path_above_root"),
    refused(
        "an encoded slash before dots",
        b"GET /public%2f..%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n",
        "path_ambiguous",
    ),
    refused("dots with a parameter", b"GET /public/..;/admin HTTP/1.1\r\nHost: a\r\n\r\n", "path_ambiguous"),
    refused("a backslash", b"GET /public\\..\\admin HTTP/1.1\r\nHost: a\r\n\r\n", "path_backslash"),
    refused(
        "an encoded backslash",
        b"GET /public%5c..%5cadmin HTTP/1.1\r\nHost: a\r\n\r\n",
        "path_backslash",
    ),
    refused("an encoded NUL", b"GET /a%00.png HTTP/1.1\r\nHost: a\r\n\r\n", "path_control"),
    refused("an encoded end of line", b"GET /a%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n", "path_control"),
    refused("a percent sign alone", b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", "path_escape"),
    refused("an escape that is not hexadecimal", b"GET /%u002e HTTP/1.1\r\nHost: a\r\n\r\n", "path_escape"),
];
