//! HTTP/2, by the `h2` crate over our own connections: clients' by `session` and `stream`, backends' by `shared` and `remote`.
//!
//! ```text
//! Wire ◄─► io ◄─► h2 ─► session: a connection ─► stream: one exchange ─► the same route, balance, pool as HTTP/1.1's
//!           │             └► driver: what moves it all, and when it ends     stock: what it holds of memory
//!           └► meter ─► flood: too much of nothing ends the connection
//! ```
//!
//! What `h2` refuses itself (frames, header compression, names in upper case, fields of a connection, pseudo-fields, DATA that is
//! not as long as Content-Length says) it answers by `RST_STREAM` or GOAWAY. What it lets pass is read by `head`, as strictly as
//! HTTP/1.1's heads are: nothing that a backend could read in two ways is written to it.

mod downgrade;
mod driver;
mod end;
mod flood;
mod head;
mod io;
mod meter;
mod remote;
mod request;
mod session;
mod shared;
mod stock;
mod stream;
mod websocket;

pub use downgrade::Downgrade;
pub(super) use head::check_names;
pub(super) use remote::Remote;
pub(super) use request::request;
pub(super) use session::{PREFACE, serve};
pub(super) use shared::{Place, Shared};
