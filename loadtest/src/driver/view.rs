//! Asks the server for its own view, once a second, from a thread of its own: one blocking
//! request must not hold up the generator, and it is not on the path that is measured.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a blocking edge")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::now;
use super::probe::encrypt;
use crate::server_view::{ServerLook, ServerSecond};
use crate::tls::Encryption;

/// How long the server may take to answer. A busy one answers late, a stuck one not at all.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);

/// Longest answer taken: a kilobyte for each of a thousand shards.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Time between two requests. The server's numbers are a second's, too.
const PERIOD: Duration = Duration::from_secs(1);

/// Answers in a row that do not come before nobody asks any more.
const FAILURES_MAX: u32 = 5;

/// A thread that asks. Dropping it ends the thread after its request.
pub(super) struct View {
    sightings: mpsc::Receiver<Sighting>,
    stop: Arc<AtomicBool>,
}

/// What was seen of one second.
pub(super) struct Sighting {
    pub(super) second: ServerSecond,
    /// The version the server gives itself.
    pub(super) version: Option<String>,
    /// Rooms at the first look, before anybody was there.
    pub(super) rooms_at_first: Option<u64>,
}

impl View {
    /// Begins to ask. When there is nothing to be seen, nothing will be.
    pub(super) fn open(
        address: SocketAddr,
        host: &str,
        encryption: Option<Encryption>,
    ) -> io::Result<Self> {
        let (sender, sightings) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let view = Self { sightings, stop: Arc::clone(&stop) };
        let host = host.to_owned();
        let server = Server { address, host, encryption };
        let watch = move || watch(&server, &sender, &stop);
        thread::Builder::new().name("server-view".to_owned()).spawn(watch)?;
        Ok(view)
    }

    /// The newest second nobody has seen.
    pub(super) fn poll_sighting(&self) -> Option<Sighting> {
        self.sightings.try_iter().last()
    }

    /// The next second nobody has seen; `None` when it does not come in time.
    pub(super) fn await_sighting(&self, within: Duration) -> Option<Sighting> {
        self.sightings.recv_timeout(within).ok()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whom to ask.
struct Server {
    address: SocketAddr,
    host: String,
    encryption: Option<Encryption>,
}

fn watch(server: &Server, sightings: &mpsc::Sender<Sighting>, stop: &AtomicBool) {
    let look = || ask(server).ok().and_then(|body| ServerLook::parse(&body));
    let mut next_at = now() + PERIOD;
    // A server without a view is asked once, and left alone.
    let Some(mut before) = look() else { return };
    let rooms_at_first = before.rooms_count();
    let mut failures = 0;
    while failures < FAILURES_MAX {
        thread::sleep(next_at.saturating_since(now()));
        next_at = now().max(next_at) + PERIOD;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(after) = look() else {
            failures += 1;
            continue;
        };
        failures = 0;
        let (second, version) = (after.since(&before), after.version.clone());
        let sighting = Sighting { second, version, rooms_at_first };
        if sightings.send(sighting).is_err() {
            return;
        }
        before = after;
    }
}

/// The body of `/stats.json`.
fn ask(server: &Server) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect_timeout(&server.address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    let mut stream = encrypt(stream, server.encryption.as_ref());
    let host = &server.host;
    let request = format!(
        "GET /stats.json HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.flush()?;
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    body_of(&answer).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What follows the head of a 200; the server closes after it.
fn body_of(answer: &[u8]) -> Option<&[u8]> {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut lines);
    let Ok(httparse::Status::Complete(used)) = response.parse(answer) else { return None };
    (response.code == Some(200)).then(|| &answer[used..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_body_of_a_200_is_read() {
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}\n", Some("{}\n")),
            ("HTTP/1.1 404 Not Found\r\n\r\nnothing here", None),
            ("HTTP/1.1 200 OK\r\n", None),
            ("", None),
            ("SSH-2.0-x\r\n\r\n", None),
        ] {
            assert_eq!(body_of(answer.as_bytes()), body.map(str::as_bytes), "{answer:?}");
        }
    }
}
