//! A worker on a thread of its own, between clients and backends of the tests', over real sockets and both transports.

mod bodies;
mod endings;
mod lab;
mod requests;
mod safety;
mod seen;
