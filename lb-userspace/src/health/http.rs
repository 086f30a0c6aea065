//! The HTTP question and the reading of its answer. Only the head of the response is looked at: the status is in it,
//! and what follows, chunked or not, is closed away unread.

use crate::config::StatusRange;
use std::net::SocketAddr;

use super::ProbeError;
use super::stream::Stream;

/// A longer head is not the answer of a health page.
pub(super) const MAX_HEAD_BYTES: usize = 8 * 1024;
/// As many header lines as common servers allow.
const MAX_HEADERS: usize = 128;
/// How much of a foreign greeting is quoted in the error.
const QUOTED_BYTES: usize = 24;

/// Who asks.
pub(super) const SENDER: &str = concat!("lb-health/", env!("CARGO_PKG_VERSION"));

/// What to ask for, and the status that passes.
#[derive(Clone, Debug)]
pub(super) struct Question {
    path: String,
    host: String,
    want: StatusRange,
}

impl Question {
    pub(super) fn new(path: &str, want: StatusRange, host: Option<&str>, target: SocketAddr) -> Self {
        let host = host.map_or_else(|| target.to_string(), str::to_owned);
        Self { path: path.to_owned(), host, want }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Asks, and passes if the status is the wanted one.
    pub(super) async fn ask(&self, stream: &mut Stream) -> Result<(), ProbeError> {
        stream.write_all(self.request().into_bytes()).await?;
        self.judge(read_status(stream).await?)
    }

    /// Whether the backend's status is the wanted one.
    pub(super) fn judge(&self, got: u16) -> Result<(), ProbeError> {
        if self.want.contains(got) { Ok(()) } else { Err(ProbeError::Status { got, want: self.want }) }
    }

    fn request(&self) -> String {
        let Self { path, host, .. } = self;
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {SENDER}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
    }
}

/// The status of the first final response. Interim ones (RFC 9110, 15.2) are skipped.
async fn read_status(stream: &mut Stream) -> Result<u16, ProbeError> {
    let mut head = Vec::new();
    let mut buffer = vec![0; MAX_HEAD_BYTES];
    loop {
        let (read, returned) = stream.read(buffer).await;
        buffer = returned;
        let received = buffer.get(..read?).unwrap_or_default();
        if received.is_empty() {
            return Err(ProbeError::Closed);
        }
        head.extend_from_slice(received);
        if let Some(status) = take_final_status(&mut head)? {
            return Ok(status);
        }
    }
}

/// The final status if its head is complete. Complete interim heads are removed from the front.
fn take_final_status(head: &mut Vec<u8>) -> Result<Option<u16>, ProbeError> {
    while let Some((length, status)) = parse_head(head)? {
        if !(100..200).contains(&status) {
            return Ok(Some(status));
        }
        head.drain(..length);
    }
    if head.len() >= MAX_HEAD_BYTES {
        Err(ProbeError::HeadTooLong { limit: MAX_HEAD_BYTES })
    } else {
        Ok(None)
    }
}

/// Length and status of the head the bytes begin with; `None` if more of it has to come.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, u16)>, ProbeError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Ok(response.code.map(|status| (length, status))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(ProbeError::NotHttp(format!("{error}, it begins with {:?}", quote(bytes)))),
    }
}

/// The beginning of what came, fit for one line of text.
fn quote(bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line.get(..QUOTED_BYTES).unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status_of(bytes: &[u8]) -> Result<Option<u16>, ProbeError> {
        take_final_status(&mut bytes.to_vec())
    }

    #[test]
    fn the_request_names_host_and_sender_and_asks_to_close() {
        let question = Question::new("/healthz", StatusRange::default(), None, ([10, 0, 0, 1], 8080).into());
        let request = question.request();
        assert!(
            request.starts_with("GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: lb-health/")
        );
        assert!(request.contains("\r\nConnection: close\r\n") && request.ends_with("\r\n\r\n"));
        let named =
            Question::new("/", StatusRange::default(), Some("shop.example"), ([10, 0, 0, 1], 80).into());
        assert!(named.request().contains("\r\nHost: shop.example\r\n"));
    }

    #[test]
    fn every_prefix_of_a_head_asks_for_more() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for length in 0..head.len() {
            assert_eq!(status_of(&head[..length]), Ok(None), "{length} bytes");
        }
        assert_eq!(status_of(head), Ok(Some(200)));
    }

    #[test]
    fn an_interim_response_is_not_the_answer() {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        assert_eq!(status_of(hints.as_bytes()), Ok(None));
        assert_eq!(status_of(format!("{hints}{hints}HTTP/1.1 503 Busy\r\n\r\n").as_bytes()), Ok(Some(503)));
    }

    #[test]
    fn another_protocol_is_quoted() {
        let error = status_of(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").unwrap_err().to_string();
        assert!(
            error.starts_with("not HTTP: ") && error.ends_with("\"SSH-2.0-OpenSSH_9.2p1 De\""),
            "{error}"
        );
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let mut head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        head.resize(MAX_HEAD_BYTES, b'a');
        assert_eq!(status_of(&head), Err(ProbeError::HeadTooLong { limit: MAX_HEAD_BYTES }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = status_of(&bytes);
        }
    }
}
