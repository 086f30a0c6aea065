//! Where Prometheus reads, as the configuration in force says.

use super::Error;
use crate::control::scrape;
use crate::control::server::Asked;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::{JoinHandle, spawn_local};

/// What serves metrics, if anything does. Its drop ends that.
#[derive(Debug)]
pub(super) struct Scraping {
    queue: UnboundedSender<Asked>,
    served: Option<(SocketAddr, JoinHandle<()>)>,
}

/// An address that can be served.
#[derive(Debug)]
pub(super) enum Prepared {
    /// The one that is served.
    Same,
    /// Another one, or none.
    Other(Option<(SocketAddr, TcpListener)>),
}

impl Scraping {
    /// Serves nothing yet. What is asked goes to this queue.
    pub(super) const fn new(queue: UnboundedSender<Asked>) -> Self {
        Self { queue, served: None }
    }

    /// Sees whether metrics can be served there; nothing changes yet.
    pub(super) async fn prepare(&self, wanted: Option<SocketAddr>) -> Result<Prepared, Error> {
        if wanted == self.served.as_ref().map(|(address, _)| *address) {
            return Ok(Prepared::Same);
        }
        let Some(address) = wanted else { return Ok(Prepared::Other(None)) };
        let listener = scrape::bind(address).await.map_err(|source| Error::Metrics { address, source })?;
        Ok(Prepared::Other(Some((address, listener))))
    }

    /// Serves them there from now on. Scrapes under way end well.
    pub(super) fn take_up(&mut self, prepared: Prepared) {
        let Prepared::Other(place) = prepared else { return };
        self.end();
        self.served = place
            .map(|(address, listener)| (address, spawn_local(scrape::serve(listener, self.queue.clone()))));
    }

    fn end(&mut self) {
        if let Some((_, task)) = self.served.take() {
            task.abort();
        }
    }
}

impl Drop for Scraping {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::{LocalSet, yield_now};

    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn follow(scraping: &mut Scraping, wanted: Option<SocketAddr>) {
        let prepared = scraping.prepare(wanted).await.unwrap();
        scraping.take_up(prepared);
        // A task that was ended lets go of its socket when it is its turn.
        for _ in 0..3 {
            yield_now().await;
        }
    }

    fn run(case: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, case);
    }

    #[test]
    fn the_address_follows_what_is_wanted() {
        run(async {
            let mut scraping = Scraping::new(unbounded_channel().0);
            let (one, other) = (free(), free());
            let answers = async |address| TcpStream::connect(address).await.is_ok();
            follow(&mut scraping, Some(one)).await;
            assert!(answers(one).await && !answers(other).await);
            follow(&mut scraping, Some(other)).await;
            assert!(!answers(one).await && answers(other).await);
            follow(&mut scraping, None).await;
            assert!(!answers(other).await);
        });
    }

    #[test]
    fn an_address_that_cannot_be_had_leaves_the_other_as_it_is() {
        run(async {
            let mut scraping = Scraping::new(unbounded_channel().0);
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let one = free();
            follow(&mut scraping, Some(one)).await;
            assert!(matches!(scraping.prepare(Some(one)).await, Ok(Prepared::Same)));
            assert!(scraping.prepare(Some(taken.local_addr().unwrap())).await.is_err());
            assert!(TcpStream::connect(one).await.is_ok());
        });
    }
}
