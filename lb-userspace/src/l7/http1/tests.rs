//! Sentences about HTTP/1.1.
