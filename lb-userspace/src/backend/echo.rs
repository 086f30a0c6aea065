//! The echo over plain TCP and UDP.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::sleep;

use super::datagram;

/// The largest datagram there is.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// Pause after a socket error, lest a lasting one become a busy loop.
pub(super) const ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Sends back what comes, until the client has closed its side; then closes the other.
pub(super) async fn serve_tcp(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
        // The client may be gone by now; there is nothing left to tell it.
        let _ = writer.shutdown().await;
    }
}

/// Answers every datagram with the name, a space and the datagram. The buffer begins with what every answer begins
/// with, and datagrams are received behind it.
pub(super) async fn serve_udp(socket: UdpSocket, name: String) {
    let mut buffer = format!("{name} ").into_bytes();
    let prefix = buffer.len();
    buffer.resize(prefix + MAX_DATAGRAM_BYTES, 0);
    loop {
        answer_datagram(&socket, &mut buffer, prefix).await;
    }
}

async fn answer_datagram(socket: &UdpSocket, buffer: &mut [u8], prefix: usize) {
    let received = datagram::receive(socket, buffer.get_mut(prefix..).unwrap_or_default()).await;
    let Ok((length, ends)) = received else { return sleep(ERROR_PAUSE).await };
    // An answer that cannot be sent is a datagram lost, as datagrams are.
    let _ = datagram::answer(socket, buffer.get(..prefix + length).unwrap_or_default(), &ends).await;
}
