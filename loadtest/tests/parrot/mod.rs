//! A WebSocket server that is not Tickloom: it says what it hears, to one or to all.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a server for tests")]
#![allow(dead_code, reason = "the tests each use a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tickloom_protocol::handshake::{Head, http_response};
use tickloom_protocol::link::{End, Link, Received};

/// How it behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    /// Everybody hears everybody.
    pub(crate) broadcasts: bool,
    /// From this message on, the last byte of each is another.
    pub(crate) mumbles_from: Option<u64>,
    /// Only those who offer this subprotocol are let in.
    pub(crate) insists_on: Option<&'static str>,
    /// It takes a close frame for small talk.
    pub(crate) ignores_goodbyes: bool,
    /// The body of `/stats.json`.
    pub(crate) stats: Option<&'static str>,
}

/// A running parrot. Dropping it stops it.
pub(crate) struct Parrot {
    pub(crate) address: SocketAddr,
    peers: mpsc::Receiver<IpAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Parrot {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, peers) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&listener, manners, &sender, &stopped));
        Self { address, peers, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/any", self.address)
    }

    /// The addresses of all who came.
    pub(crate) fn peers(&self) -> Vec<IpAddr> {
        self.peers.try_iter().collect()
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().expect("running").join();
        assert!(result.is_ok() || thread::panicking(), "the parrot died");
    }
}

struct Guest {
    socket: TcpStream,
    head: Vec<u8>,
    link: Option<Link>,
    output: Vec<u8>,
    is_over: bool,
}

/// Serves on `listener` until told to stop.
pub(crate) fn serve(
    listener: &TcpListener,
    manners: Manners,
    peers: &mpsc::Sender<IpAddr>,
    stop: &AtomicBool,
) {
    listener.set_nonblocking(true).expect("nonblocking");
    let heard = AtomicU64::new(0);
    let mut guests: Vec<Guest> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok((socket, peer)) = listener.accept() {
            socket.set_nonblocking(true).expect("nonblocking");
            let _ = peers.send(peer.ip());
            let (head, output) = (Vec::new(), Vec::new());
            guests.push(Guest { socket, head, link: None, output, is_over: false });
        }
        let mut was_idle = true;
        for at in 0..guests.len() {
            let words = guests[at].hear(manners);
            was_idle &= words.is_empty();
            for mut word in words {
                let count = heard.fetch_add(1, Ordering::Relaxed);
                if manners.mumbles_from.is_some_and(|from| count >= from) {
                    word.mumble();
                }
                for (to, guest) in guests.iter_mut().enumerate() {
                    if to == at || manners.broadcasts {
                        guest.say(&word);
                    }
                }
            }
        }
        guests.iter_mut().for_each(Guest::flush);
        guests.retain(|guest| !guest.is_over || !guest.output.is_empty());
        if was_idle {
            thread::sleep(Duration::from_micros(300));
        }
    }
}

#[derive(Clone)]
enum Word {
    Text(String),
    Binary(Vec<u8>),
}

impl Word {
    fn mumble(&mut self) {
        match self {
            Self::Text(text) => {
                text.pop();
                text.push('?');
            }
            Self::Binary(bytes) => *bytes.last_mut().expect("a payload") ^= 1,
        }
    }
}

impl Guest {
    fn hear(&mut self, manners: Manners) -> Vec<Word> {
        let mut buffer = [0; 16 * 1024];
        let read = match self.socket.read(&mut buffer) {
            Ok(0) => {
                self.is_over = true;
                return Vec::new();
            }
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Vec::new(),
            Err(_) => {
                (self.is_over, self.output) = (true, Vec::new());
                return Vec::new();
            }
        };
        let mut rest = &buffer[..read];
        let mut after_head = Vec::new();
        if self.link.is_none() {
            self.head.extend_from_slice(rest);
            let Some(used) = self.admit(manners) else { return Vec::new() };
            after_head.extend_from_slice(&self.head[used..]);
            rest = &after_head;
        }
        let link = self.link.as_mut().expect("admitted");
        let mut words = Vec::new();
        if !link.is_open() {
            return words;
        }
        loop {
            match link.poll(&mut rest, &mut self.output) {
                Ok(Some(Received::Text(text))) => words.push(Word::Text(text.to_string())),
                Ok(Some(Received::Binary(bytes))) => words.push(Word::Binary(bytes.to_vec())),
                Ok(Some(Received::Alive)) => {}
                Ok(None) => return words,
                Ok(Some(Received::Closed(_))) if manners.ignores_goodbyes => {
                    self.output.clear();
                    return words;
                }
                Ok(Some(Received::Closed(_))) | Err(_) => {
                    self.is_over = true;
                    return words;
                }
            }
        }
    }

    /// Answers a whole head; the bytes it took when it was an upgrade.
    fn admit(&mut self, manners: Manners) -> Option<usize> {
        let (head, used) = Head::parse(&self.head).expect("a head")?;
        let request = String::from_utf8_lossy(&self.head[..used]).into_owned();
        let Head::Upgrade(upgrade) = head else {
            self.output = match manners.stats {
                Some(stats) if request.starts_with("GET /stats.json ") => {
                    http_response(200, "", stats)
                }
                _ => http_response(404, "", "nothing here"),
            };
            self.is_over = true;
            return None;
        };
        let mut response = String::from_utf8(upgrade.response()).expect("ASCII");
        if let Some(wanted) = manners.insists_on {
            let line = format!("\r\nSec-WebSocket-Protocol: {wanted}\r\n");
            if !request.contains(&line) {
                self.output = http_response(400, "", "another subprotocol, please");
                self.is_over = true;
                return None;
            }
            response.insert_str(response.len() - 4, line.trim_end());
        }
        self.output = response.into_bytes();
        self.link = Some(Link::new(End::Server));
        Some(used)
    }

    fn say(&mut self, word: &Word) {
        let Some(link) = &mut self.link else { return };
        match word.clone() {
            Word::Text(text) => link.send_text(text.into(), &mut self.output),
            Word::Binary(bytes) => link.send_binary(bytes.into(), &mut self.output),
        }
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.socket.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => (self.is_over, self.output) = (true, Vec::new()),
            }
        }
    }
}
