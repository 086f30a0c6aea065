//! lb-userspace.
fn main() {}
