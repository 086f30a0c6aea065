//! What both transports must do, as far as whole requests do not show it.

use super::{Epoll, Ring, Stream, Watch};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two ends of a connection, one of them watched.
fn pair<W: Watch>() -> (Stream<W>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    (Stream::accepted(Rc::new(near.into())).unwrap(), far)
}

async fn read<W: Watch>(stream: &mut Stream<W>) -> usize {
    let reading = poll_fn(|cx| stream.poll_read(cx, &mut [0; 16]));
    timeout(PATIENCE, reading).await.unwrap().unwrap()
}

#[test]
fn an_end_that_came_with_the_last_bytes_is_seen_behind_them() {
    async fn case<W: Watch>() {
        let (mut near, mut far) = pair::<W>();
        far.write_all(b"last").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        assert_eq!((read(&mut near).await, read(&mut near).await, read(&mut near).await), (4, 0, 0));
    }
    Epoll::run(case::<Epoll>()).unwrap();
    Ring::run(case::<Ring>()).unwrap();
}

#[test]
fn a_connection_that_is_dropped_while_it_is_waited_for_is_closed() {
    async fn case<W: Watch>() {
        let (mut near, mut far) = pair::<W>();
        let waits = poll_fn(|cx| Poll::Ready(near.poll_read(cx, &mut [0]).is_pending())).await;
        drop(near);
        assert_eq!((waits, far.read(&mut [0]).unwrap()), (true, 0));
    }
    Epoll::run(case::<Epoll>()).unwrap();
    Ring::run(case::<Ring>()).unwrap();
}

#[test]
fn a_connection_that_waits_is_quiet_until_its_peer_says_something_or_ends() {
    async fn case<W: Watch>(unasked: impl Fn(&mut TcpStream)) {
        let (mut near, mut far) = pair::<W>();
        assert!(near.is_quiet(true));
        far.write_all(b"asked").unwrap();
        assert_eq!(read(&mut near).await, 5);
        let waits = poll_fn(|cx| Poll::Ready(near.poll_read(cx, &mut [0]).is_pending())).await;
        assert!(waits && near.is_quiet(false) && near.is_quiet(true));
        unasked(&mut far);
        let noticed = async {
            while near.is_quiet(false) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, noticed).await.unwrap();
        assert!(!near.is_quiet(true));
    }
    let speaks = |far: &mut TcpStream| far.write_all(b"unasked").unwrap();
    let ends = |far: &mut TcpStream| far.shutdown(Shutdown::Write).unwrap();
    Epoll::run(case::<Epoll>(speaks)).unwrap();
    Epoll::run(case::<Epoll>(ends)).unwrap();
    Ring::run(case::<Ring>(speaks)).unwrap();
    Ring::run(case::<Ring>(ends)).unwrap();
}

#[test]
fn room_that_comes_back_is_told_of_as_often_as_it_does() {
    async fn case<W: Watch>() {
        const WHOLE: usize = 32 << 20;
        let (mut near, mut far) = pair::<W>();
        let reader = std::thread::spawn(move || {
            let (mut read, mut room) = (0, vec![0; 1 << 16]);
            while read < WHOLE {
                read += far.read(&mut room).unwrap();
            }
        });
        let (bytes, mut written) = (vec![0; 1 << 20], 0);
        while written < WHOLE {
            let part = &[std::io::IoSlice::new(&bytes[..bytes.len().min(WHOLE - written)])];
            let writing = poll_fn(|cx| near.poll_write(cx, part));
            written += timeout(PATIENCE, writing).await.unwrap().unwrap();
        }
        reader.join().unwrap();
    }
    Epoll::run(case::<Epoll>()).unwrap();
    Ring::run(case::<Ring>()).unwrap();
}

#[test]
fn one_who_always_has_something_to_read_lets_others_have_their_turn() {
    async fn case<W: Watch>() {
        const WHOLE: usize = 10_000;
        let ((mut busy, mut much), (mut other, mut little)) = (pair::<W>(), pair::<W>());
        much.write_all(&[0; WHOLE]).unwrap();
        little.write_all(b"x").unwrap();
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        let greedy = spawn_local(async move {
            while count.get() < WHOLE {
                count.set(count.get() + poll_fn(|cx| busy.poll_read(cx, &mut [0])).await.unwrap());
            }
        });
        let modest = spawn_local(async move {
            assert_eq!(read(&mut other).await, 1);
            taken.get()
        });
        let before = modest.await.unwrap();
        greedy.await.unwrap();
        assert!(before < WHOLE / 2, "{before} bytes were read first");
    }
    Epoll::run(case::<Epoll>()).unwrap();
    Ring::run(case::<Ring>()).unwrap();
}
