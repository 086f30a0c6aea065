//! The worker under test and what stands around it.

use crate::config::proxy::{
    Balance, ClientDeadlines, ClientLimits, Listener, Pool, Proxy, Queue, Retries, Service, UpstreamDeadlines,
};
use crate::l7::balance::Signer;
use crate::l7::log;
use crate::l7::settings::Settings;
use crate::l7::site::Snapshot;
use crate::l7::tls::{Shared, Store};
use crate::l7::transport::{Epoll, Ring, Watch};
use crate::l7::worker::{Counters, Down, Order, run};
use socket2::{Domain, Socket, Type};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a case over each transport.
pub(super) fn over_both(case: impl Fn(&dyn Fn(Proxy) -> Lab)) {
    case(&|proxy| Lab::start::<Epoll>(&proxy, log::Queue::default()));
    case(&|proxy| Lab::start::<Ring>(&proxy, log::Queue::default()));
}

/// Runs a case over each transport whose worker has a log.
pub(super) fn logged_over_both(case: impl Fn(&dyn Fn(Proxy) -> (Lab, log::Log))) {
    let logged = |start: fn(&Proxy, log::Queue) -> Lab, proxy: &Proxy| {
        let log = log::Log::start().unwrap();
        (start(proxy, log.queue.clone()), log)
    };
    case(&|proxy| logged(Lab::start::<Epoll>, &proxy));
    case(&|proxy| logged(Lab::start::<Ring>, &proxy));
}

/// A worker at work. Its drop drains it.
pub(super) struct Lab {
    pub(super) address: SocketAddr,
    pub(super) orders: UnboundedSender<Order>,
    pub(super) counters: Arc<Counters>,
    pub(super) settings: Arc<Settings>,
    queue: log::Queue,
    thread: Option<JoinHandle<()>>,
}

impl Lab {
    fn start<W: Watch>(proxy: &Proxy, queue: log::Queue) -> Self {
        let address = proxy.listeners[0].addresses[0];
        let settings = Arc::new(Settings::build(proxy, None).unwrap());
        let served = (snapshot(&settings, queue.clone()), Down::default());
        let (orders, received) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let kept = Arc::clone(&counters);
        let thread = std::thread::spawn(move || W::run(run::<W>(served, received, (kept, 1))).unwrap());
        let lab = Self { address, orders, counters, settings, queue, thread: Some(thread) };
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        lab
    }

    /// Serves something else from now on.
    pub(super) fn reload(&mut self, proxy: &Proxy) {
        self.reload_with(proxy, Down::default());
    }

    /// The same, where these backends are down.
    pub(super) fn reload_with(&mut self, proxy: &Proxy, down: Down) {
        self.settings = Arc::new(Settings::build(proxy, Some(&self.settings)).unwrap());
        self.orders.send(Order::Serve(snapshot(&self.settings, self.queue.clone()), down)).unwrap();
    }

    pub(super) fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }
}

fn snapshot(settings: &Arc<Settings>, log: log::Queue) -> Snapshot {
    let tls = Arc::new(Store::read(&Shared::new().unwrap(), settings).unwrap());
    Snapshot { settings: Arc::clone(settings), tls, signer: Signer::new(b"secret"), workers: 1, log }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Drain(Duration::from_millis(200)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Everything to this backend.
pub(super) fn to(backend: SocketAddr) -> Proxy {
    let address = free_address();
    Proxy {
        listeners: vec![Listener {
            name: "front".to_owned(),
            addresses: vec![address],
            tls: None,
            http2: false,
            proxy_protocol: Vec::new(),
            limits: ClientLimits::DEFAULT,
            deadlines: ClientDeadlines::DEFAULT,
            service: Some("web".to_owned()),
            redirect_to_https: None,
            hsts: None,
            access_log: None,
            line: 1,
        }],
        services: vec![service(backend)],
        ..Proxy::default()
    }
}

pub(super) fn service(backend: SocketAddr) -> Service {
    Service {
        name: "web".to_owned(),
        balance: Balance::RoundRobin,
        sticky: None,
        health: None,
        max_connections: 0,
        queue: Queue::DEFAULT,
        slow_start: Duration::ZERO,
        pool: Pool::DEFAULT,
        deadlines: UpstreamDeadlines::DEFAULT,
        retries: Retries::DEFAULT,
        outliers: None,
        tls: None,
        proxy_protocol: None,
        http2: false,
        host: None,
        backends: vec![crate::config::proxy::Backend {
            name: "web1".to_owned(),
            addr: backend,
            weight: 1,
            drain: false,
        }],
        line: 1,
    }
}

/// An address where nobody listens. Its port is held for as long as the tests run, or another of them might be given it before
/// a worker listens there; a worker shares it.
pub(super) fn free_address() -> SocketAddr {
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.set_reuse_port(true).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = held.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(held);
    address
}

/// A backend that has each of its connections served by `serve`.
pub(super) fn backend(serve: impl Fn(Client) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(Client(BufReader::new(stream.unwrap()))));
        }
    });
    address
}

/// A backend that answers each request with its head and body.
pub(super) fn mirror() -> SocketAddr {
    backend(|mut client| {
        while let Some(request) = client.receive() {
            let body = [request.head.as_bytes(), &request.body].concat();
            client.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            client.send_bytes(&body);
        }
    })
}

/// One end of a connection.
pub(super) struct Client(pub(super) BufReader<TcpStream>);

/// A message: a head and the body behind it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(super) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// The other end may have gone, which it tells then.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// The next message; `None` at the end.
    pub(super) fn receive(&mut self) -> Option<Message> {
        let head = self.head()?;
        Some(self.body_of(head))
    }

    /// The rest of a message whose head has come.
    pub(super) fn body_of(&mut self, head: String) -> Message {
        let mut message = Message { head, body: Vec::new() };
        if let Some(length) = message.field("content-length") {
            message.body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut message.body).unwrap();
        } else if message.field("transfer-encoding").is_some() {
            message.body = self.chunks();
        }
        message
    }

    /// The next head alone; `None` at the end.
    pub(super) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some(head)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let begin = body.len();
            body.resize(begin + size, 0);
            self.0.read_exact(&mut body[begin..]).unwrap();
            self.0.read_line(&mut String::new()).unwrap();
            if size == 0 {
                return body;
            }
        }
    }

    pub(super) fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.receive().expect("an answer")
    }

    /// What comes until the end.
    pub(super) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }

    pub(super) fn finish(&self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// Everything to this backend, HTTP/2 being spoken too.
pub(super) fn to_by_http2(backend: SocketAddr) -> Proxy {
    let mut proxy = to(backend);
    proxy.listeners[0].http2 = true;
    proxy
}
