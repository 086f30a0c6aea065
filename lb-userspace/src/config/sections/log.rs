//! Keys of what can be seen: the access log and the metrics.

use super::super::keys::{Form, Key, Presence, Section, Unit, Value};
use super::super::proxy::LogErrors;

/// The access log.
pub(in crate::config) static ACCESS_LOG: Section = Section {
    title: "access_log = { … }",
    meaning: "How requests are logged, inside the braces of an `access_log`. A thread of its own writes the lines; where the disk \
              stalls they are lost and counted, and no request waits. SIGUSR1 opens all files anew, as after a rotation. What \
              clients send is escaped, so that no line is theirs; longer than 2048 bytes, a value is cut.",
    keys: &[
        Key {
            name: "to",
            value: Value::Text(Form::LogTarget),
            presence: Presence::Required,
            example: "to = \"/var/log/lb/access.log\"",
            meaning: "Where lines go: a file, which is made if it is not there and appended to, or `stdout`.",
            why: "",
        },
        Key {
            name: "format",
            value: Value::Text(Form::LogFormat),
            presence: Presence::Default("\"text\""),
            example: "format = '{time} {client} \"{request}\" {status} {duration} {backend}'",
            meaning: "`text`: the combined log format. `json`: an object a line, of every field that there is something to tell of. \
                      Else a format of your own: fields in braces, `{header:NAME}` for a field of the request, `{{` and `}}` for \
                      braces; put quotes around what clients choose. The fields: `time`, `time_common`, `client`, \
                      `client_port`, `listener`, `tls`, `sni`, `protocol`, `method`, `host`, `path`, `query`, `request` (method, \
                      path, query and protocol), `status` (499 where the client had gone before the answer), `bytes_in` and \
                      `bytes_out` (of bodies), `duration` and `upstream_time` (seconds; to the answer's last byte, and to the \
                      backend's first), `route`, `service`, `backend`, `retries`, `request_id`, `failure` (why, in one word).",
            why: "All tools read the combined format.",
        },
        Key {
            name: "sample",
            value: Value::Number(Unit::Size, 1..=1_000_000),
            presence: Presence::Default("1"),
            example: "sample = 100",
            meaning: "One of so many requests is logged.",
            why: "Whoever wants a log expects all of it.",
        },
        Key {
            name: "errors",
            value: Value::Choice(LogErrors::CHOICES),
            presence: Presence::Default("\"all\""),
            example: "errors = \"sampled\"",
            meaning: "Whether all requests answered with 500 and more are logged, or as many as of others.",
            why: "They are few as a rule, and what a log is read for.",
        },
    ],
};

/// Metrics.
pub(in crate::config) static METRICS: Section = Section {
    title: "[metrics]",
    meaning: "Metrics for Prometheus, of both layers: `GET /metrics` in the text format 0.0.4, and `GET /healthz`. A reload follows it.",
    keys: &[Key {
        name: "address",
        value: Value::Text(Form::Endpoint),
        presence: Presence::Required,
        example: "address = \"127.0.0.1:9090\"",
        meaning: "Address and port to serve them on. Whoever can connect can read them: names of services and backends are among them.",
        why: "",
    }],
};
