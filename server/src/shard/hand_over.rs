//! Connections that go from a shard to the HTTP thread, and those that come back.

use tickloom_protocol::handshake::{Head, HttpRequest, Refusal, http_response};
use tickloom_protocol::time::Timestamp;

use crate::board::Board;
use crate::http::HandOver;
use crate::session::{Phase, SessionId};
use crate::shard::{Effect, Shard};

impl Shard {
    /// Gives a connection whose request is no upgrade to the HTTP thread.
    pub(super) fn hand_over(&mut self, id: SessionId) {
        let Some(session) = self.remove(id) else { return };
        let Phase::Head(bytes) = session.phase else { return };
        self.metrics.handed_over += 1;
        let (peer, client) = (session.peer, session.client);
        let (counted, tls) = (session.counted, session.tls);
        let hand_over = HandOver { peer, client, counted, tls, bytes };
        self.effects.push_back(Effect::HandOver { socket: id, hand_over });
    }

    /// The HTTP thread did not take a connection: it is told so here. Who asks whether the server
    /// is well gets that answer all the same, for a supervisor that hears nothing but 503 ends a
    /// server which is only in demand.
    pub fn handle_handed_back(&mut self, now: Timestamp, hand_over: HandOver) -> SessionId {
        let response = match Head::parse(&hand_over.bytes) {
            Ok(Some((Head::Http(request), _))) => probe(&request, &self.config.board),
            _ => None,
        };
        let (id, _) = self.readmit(now, hand_over);
        self.answer(now, id, response.unwrap_or_else(|| Refusal::OVERLOADED.response()));
        id
    }

    /// A connection of the HTTP thread asks for WebSocket. What it is told does not depend on the
    /// way by which it came.
    pub(super) fn handle_returned(&mut self, now: Timestamp, hand_over: HandOver) -> SessionId {
        let (id, bytes) = self.readmit(now, hand_over);
        if self.is_stopping() {
            self.answer(now, id, Refusal::OVERLOADED.response());
        } else {
            self.handle_plaintext(now, id, &bytes);
        }
        id
    }

    /// A session for a connection that had one before, and what it has said.
    fn readmit(&mut self, now: Timestamp, hand_over: HandOver) -> (SessionId, Vec<u8>) {
        let HandOver { peer, client, counted, tls, bytes } = hand_over;
        // Behind a proxy the next request may speak for somebody else.
        drop(counted);
        let id = self.insert_new(now, peer);
        if let Some(session) = self.sessions.get_mut(id) {
            // What a PROXY header said holds for the whole connection, and it does not come again.
            session.client = client;
            session.tls = tls;
        }
        (id, bytes)
    }
}

/// The answer to a question about the server's health, which needs nothing but the board.
fn probe(request: &HttpRequest, board: &Board) -> Option<Vec<u8>> {
    const NO_STORE: &str = "Cache-Control: no-store\r\n";
    let mut response = match (&*request.method, request.path()) {
        ("GET" | "HEAD", "/healthz") => http_response(200, NO_STORE, "ok\n"),
        ("GET" | "HEAD", "/readyz") => match board.readiness() {
            Ok(ready) => http_response(200, NO_STORE, &format!("{ready}\n")),
            Err(reasons) => http_response(503, NO_STORE, &format!("{reasons}\n")),
        },
        _ => return None,
    };
    if &*request.method == "HEAD" {
        let body = response.windows(4).position(|window| window == b"\r\n\r\n");
        response.truncate(body.map_or(response.len(), |position| position + 4));
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tickloom_protocol::client::{Client, ClientEvent};
    use tickloom_protocol::client_message::Join;

    use super::*;
    use crate::addresses::AddressLimits;
    use crate::config::Config;
    use crate::mail::Mail;
    use crate::proxies::Networks;
    use crate::room::arena::Arena;
    use crate::rooms::RoomTypes;
    use crate::session::NO_SOCKET;
    use crate::shard::ShardConfig;

    /// A shard with one connection, which takes everything.
    struct World {
        shard: Shard,
        now: Timestamp,
        id: SessionId,
        taken: Vec<u8>,
        is_closed: bool,
        /// What the HTTP thread was given.
        handed_over: Vec<HandOver>,
    }

    impl World {
        fn new() -> Self {
            Self::with(&Config::loopback())
        }

        fn with(config: &Config) -> Self {
            let room_types = RoomTypes::default().with(Arena::new(20));
            let mut shard = Shard::new(ShardConfig::alone(config, room_types));
            let now = Timestamp(1_000_000);
            let id = shard.handle_accept(now, NO_SOCKET);
            let (taken, handed_over) = (Vec::new(), Vec::new());
            Self { shard, now, id, taken, is_closed: false, handed_over }
        }

        fn send(&mut self, bytes: &[u8]) {
            self.shard.handle_bytes(self.now, self.id, bytes);
            self.obey();
        }

        fn obey(&mut self) {
            loop {
                while let Some(id) = self.shard.poll_flush() {
                    let mut buffer = [0; 4096];
                    while let Some(bytes) = self.shard.outgoing(id, &mut buffer) {
                        self.taken.extend_from_slice(bytes);
                        let sent = bytes.len();
                        self.shard.handle_sent(self.now, id, sent);
                    }
                }
                match self.shard.poll_effect() {
                    None => return,
                    Some(Effect::Close(_)) => self.is_closed = true,
                    Some(Effect::ShutDown(id)) => self.shard.handle_disconnect(self.now, id),
                    Some(Effect::HandOver { socket, hand_over }) => {
                        assert_eq!(socket, self.id, "the one connection there is");
                        self.handed_over.push(hand_over);
                    }
                    Some(Effect::Read(..) | Effect::Record(_) | Effect::Recording(_)) => {}
                    Some(Effect::Deliver { .. }) => unreachable!("there is one shard"),
                }
            }
        }

        /// What the HTTP thread was given, and whose.
        fn taken_over(&self) -> Vec<(SocketAddr, Vec<u8>)> {
            let taken = self.handed_over.iter();
            taken.map(|hand_over| (hand_over.peer, hand_over.bytes.clone())).collect()
        }
    }

    #[test]
    fn a_request_that_is_no_upgrade_leaves_with_every_byte_that_came() {
        let mut world = World::new();
        let head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        for byte in head {
            assert!(world.handed_over.is_empty(), "the head is not complete");
            world.send(&[*byte]);
        }
        let bytes = head.to_vec();
        assert_eq!(world.taken_over(), [(NO_SOCKET, bytes)]);
        assert_eq!(world.shard.sessions().count(), 0, "it is nobody's here any more");
        world.send(b"late");
        assert_eq!((world.handed_over.len(), world.taken.len()), (1, 0));

        let mut world = World::new();
        let bytes = [head, &b"some body"[..]].concat();
        world.send(&bytes);
        assert_eq!(world.taken_over(), [(NO_SOCKET, bytes)]);
        assert_eq!(world.shard.metrics().handed_over, 1);
    }

    #[test]
    fn an_address_has_its_connection_for_as_long_as_the_http_thread_does() {
        let addresses = AddressLimits {
            exempt: Networks::none(),
            connections_max: Some(1),
            handshakes: None,
            rooms: None,
        };
        let mut config = Config { addresses, ..Config::loopback() };
        config.proxies.trusted = Networks::none();
        let mut world = World::with(&config);
        world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answer = || {
            world.taken.clear();
            world.id = world.shard.handle_accept(world.now, NO_SOCKET);
            world.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let refused = world.taken.starts_with(b"HTTP/1.1 429 ");
            world.handed_over.pop();
            refused
        };
        assert!(answer(), "the first connection is with the HTTP thread");
        assert!(!answer(), "it has ended");
    }

    #[test]
    fn what_the_http_thread_does_not_take_is_told_to_come_again_unless_it_asks_for_health() {
        let answer = |start: &str| {
            let mut world = World::new();
            world.send(format!("{start} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let hand_over = world.handed_over.pop().expect("handed over");
            world.id = world.shard.handle_handed_back(world.now, hand_over);
            world.obey();
            assert!(world.is_closed, "{start}");
            String::from_utf8(world.taken).expect("ASCII")
        };
        for start in ["GET /", "POST /healthz", "GET /stats.json", "HEAD /readyzz"] {
            let response = answer(start);
            assert!(response.starts_with("HTTP/1.1 503 "), "{start}: {response}");
            assert!(response.contains("\r\nRetry-After: 1\r\n"), "{start}: {response}");
        }
        assert!(answer("GET /healthz?a").ends_with("\r\n\r\nok\n"));
        // Nobody has started this shard's thread.
        assert!(answer("GET /readyz").ends_with("starting: shard 0 has not begun\n"));
        let head = answer("HEAD /readyz");
        assert!(head.starts_with("HTTP/1.1 503 ") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(!head.contains("Retry-After"), "that is about the server, not about HTTP: {head}");
    }

    #[test]
    fn an_upgrade_that_comes_by_the_http_thread_goes_on_like_any_other() {
        let mut world = World::new();
        world.send(b"GET / HTTP/1.1\r\n\r\n");
        let mut client = Client::connect("test", "/ws", [0; 16]);
        client.join(Join { room_type: "arena", room: "a", name: "x", ..Join::default() });
        // The upgrade and what is behind it, as it would have come on a fresh connection.
        let hand_over = HandOver::plain(NO_SOCKET, client.take_output());
        world.id = world.shard.handle_mail(world.now, Mail::Upgrade(hand_over)).expect("a session");
        world.obey();
        client.handle_bytes(&std::mem::take(&mut world.taken));
        assert_eq!(client.poll_event(), Some(ClientEvent::Upgraded));
        client.join(Join { room_type: "arena", room: "a", name: "x", ..Join::default() });
        world.send(&client.take_output());
        client.handle_bytes(&std::mem::take(&mut world.taken));
        assert_eq!(client.poll_event(), Some(ClientEvent::Joined));

        let request = b"GET /nothing HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n".to_vec();
        let hand_over = HandOver::plain(NO_SOCKET, request);
        world.id = world.shard.handle_mail(world.now, Mail::Upgrade(hand_over)).expect("a session");
        world.obey();
        assert!(world.taken.starts_with(b"HTTP/1.1 426 "), "{:?}", world.taken);
        world.taken.clear();

        world.shard.handle_stop(world.now, world.now + Duration::from_secs(9));
        world.obey();
        world.taken.clear();
        let bytes = Client::connect("test", "/ws", [0; 16]).take_output();
        let hand_over = HandOver::plain(NO_SOCKET, bytes);
        world.id = world.shard.handle_mail(world.now, Mail::Upgrade(hand_over)).expect("a session");
        world.obey();
        assert!(world.taken.starts_with(b"HTTP/1.1 503 "), "{:?}", world.taken);
    }
}
