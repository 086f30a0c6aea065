//! Why a message is refused: one list of names, rules and statuses.

macro_rules! refusals {
    ($($variant:ident, $name:literal, $status:literal, $rule:literal, $text:literal;)*) => {
        /// What is wrong with a message, by the rule that it breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Refusal {
            $(#[doc = concat!("`", $name, "`: ", $text, ". ", $rule, ".")] #[error($text)] $variant,)*
        }

        impl Refusal {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in metrics and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The rule that was broken: an RFC and its section, or `lb` where we are stricter than any.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)* }
            }

            /// The status that tells a client of it. What a backend did wrong is another status: see
            /// [`respond`](crate::l7::respond).
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

refusals! {
    // Lines
    BareLf, "bare_lf", 400, "RFC 9112 section 2.2", "a line ends by LF without CR";
    BareCr, "bare_cr", 400, "RFC 9112 section 2.2", "a CR stands without LF";
    BlankLines, "blank_lines", 400, "RFC 9112 section 2.2", "too many empty lines before the request";
    Nul, "nul", 400, "RFC 9110 section 5.5", "a NUL byte in the head";
    // The request line
    RequestLine, "request_line", 400, "RFC 9112 section 3", "the request line is not method, target and version";
    LineTooLong, "line_too_long", 414, "RFC 9112 section 3", "the request line is too long";
    Method, "method", 400, "RFC 9110 section 9.1", "the method is not a token";
    Version, "version", 400, "RFC 9112 section 2.3", "the version is malformed";
    VersionUnsupported, "version_unsupported", 505, "RFC 9110 section 15.6.6", "the version is neither 1.0 nor 1.1";
    Target, "target", 400, "RFC 9112 section 3.2", "the target has bytes that no URI has";
    TargetForm, "target_form", 400, "RFC 9112 section 3.2", "the target's form does not suit the method";
    Scheme, "scheme", 400, "RFC 9112 section 3.2.2", "the target's scheme is neither http nor https";
    Fragment, "fragment", 400, "RFC 9112 section 3.2", "the target has a fragment";
    Userinfo, "userinfo", 400, "RFC 9110 section 4.2.4", "the target or Host has userinfo";
    // The path
    PathEscape, "path_escape", 400, "RFC 3986 section 2.1", "a percent sign without two hexadecimal digits";
    PathControl, "path_control", 400, "lb", "an encoded control character in the path";
    PathBackslash, "path_backslash", 400, "RFC 3986 section 3.3", "a backslash in the path";
    PathAboveRoot, "path_above_root", 400, "RFC 3986 section 5.2.4", "the path leads above its root";
    PathAmbiguous, "path_ambiguous", 400, "lb", "readers would resolve the path's dot segments differently";
    // Fields
    FieldName, "field_name", 400, "RFC 9112 section 5.1", "a field's name is not a token";
    FieldColon, "field_colon", 400, "RFC 9112 section 5", "a field line without colon";
    SpaceBeforeColon, "space_before_colon", 400, "RFC 9112 section 5.1", "white space before a field's colon";
    SpaceBeforeFields, "space_before_fields", 400, "RFC 9112 section 2.2", "white space before the first field";
    ObsFold, "obs_fold", 400, "RFC 9112 section 5.2", "a folded field line";
    FieldValue, "field_value", 400, "RFC 9110 section 5.5", "a control character in a field's value";
    FieldTooLong, "field_too_long", 431, "RFC 6585 section 5", "a field is too long";
    TooManyFields, "too_many_fields", 431, "RFC 6585 section 5", "too many fields";
    HeadTooLarge, "head_too_large", 431, "RFC 6585 section 5", "the head is too large";
    // Host
    HostMissing, "host_missing", 400, "RFC 9112 section 3.2", "no Host field";
    HostRepeated, "host_repeated", 400, "RFC 9112 section 3.2", "several Host fields";
    HostInvalid, "host_invalid", 400, "RFC 9112 section 3.2", "the host is malformed";
    HostDisagrees, "host_disagrees", 400, "RFC 9112 section 3.2.2", "the target and Host disagree";
    // Where the body ends
    ContentLength, "content_length", 400, "RFC 9112 section 6.3", "Content-Length is not one number";
    ContentLengthRepeated, "content_length_repeated", 400, "RFC 9110 section 8.6", "Content-Length comes several times";
    ContentLengthConflict, "content_length_conflict", 400, "RFC 9112 section 6.3", "Content-Length has several values";
    TwoLengths, "two_lengths", 400, "RFC 9112 section 6.1", "both Transfer-Encoding and Content-Length";
    TransferEncodingRepeated, "transfer_encoding_repeated", 400, "RFC 9112 section 6.1", "chunked, or its field, comes several times";
    TransferEncodingNotChunked, "transfer_encoding_not_chunked", 400, "RFC 9112 section 6.3", "the last transfer coding is not chunked";
    TransferCoding, "transfer_coding", 501, "RFC 9112 section 6.1", "a transfer coding besides chunked";
    TransferEncodingVersion, "transfer_encoding_version", 400, "RFC 9112 section 6.1", "Transfer-Encoding in HTTP/1.0";
    Expectation, "expectation", 417, "RFC 9110 section 10.1.1", "an expectation other than 100-continue";
    // Chunks
    ChunkSize, "chunk_size", 400, "RFC 9112 section 7.1", "a chunk's size is not hexadecimal";
    ChunkTooLarge, "chunk_too_large", 413, "RFC 9112 section 7.1", "a chunk's size overflows";
    ChunkExtension, "chunk_extension", 400, "RFC 9112 section 7.1.1", "a chunk extension is malformed";
    ChunkLineTooLong, "chunk_line_too_long", 400, "RFC 9112 section 7.1.1", "a chunk's extensions are too long";
    ChunkOverhead, "chunk_overhead", 400, "RFC 9112 section 7.1.1", "chunks are mostly extensions or empty framing";
    ChunkEnd, "chunk_end", 400, "RFC 9112 section 7.1", "a chunk is longer than it said";
    TrailerTooLarge, "trailer_too_large", 431, "RFC 6585 section 5", "the trailer section is too large";
    // The response
    StatusLine, "status_line", 400, "RFC 9112 section 4", "the status line is malformed";
    Status, "status", 400, "RFC 9110 section 15", "the status is not between 100 and 999";
    SwitchUnasked, "switch_unasked", 400, "RFC 9110 section 15.2.2", "protocols are switched though nobody asked";
    SwitchUnnamed, "switch_unnamed", 400, "RFC 9110 section 7.8", "protocols are switched, and Upgrade and Connection do not say to which";
    TooManyInterim, "too_many_interim", 400, "lb", "too many answers that promise another";
    // HTTP/2, besides
    LengthDisagrees, "length_disagrees", 400, "RFC 9113 section 8.1.1", "Content-Length is not the length of the body";
    BlankAround, "blank_around", 400, "RFC 9113 section 8.2.1", "white space before or behind a field's value";
}

impl Refusal {
    /// Whether the connection may carry another request: only if the end of this one is known, as it is where nothing but its
    /// path is wrong.
    #[must_use]
    pub const fn keeps(self) -> bool {
        matches!(
            self,
            Self::PathEscape
                | Self::PathControl
                | Self::PathBackslash
                | Self::PathAboveRoot
                | Self::PathAmbiguous
        )
    }
}
