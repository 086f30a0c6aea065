//! A worker on a thread of its own, between clients and backends of the tests', over real sockets and both transports.

mod bodies;
mod conformance;
mod endings;
mod frames;
mod grpc;
mod http2;
mod lab;
mod login;
mod pace;
mod raw;
mod requests;
mod safety;
mod secure;
mod seen;
mod speak;
mod stock;
mod upstream;
mod waits;
mod websocket;
