//! Sentences about PROXY headers.
