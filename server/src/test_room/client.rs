//! The client's side of a member, and everything that happened to it.

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::StreamId;
use tickloom_protocol::replica::ApplyError;
use tickloom_protocol::server_message::Accepted;

use crate::session::SessionId;
use crate::test_room::{TestEvent, TestRefusal};

/// A client and what it has seen.
pub(super) struct TestClient {
    pub name: String,
    pub client: Client,
    /// The server's end of its connection, while there is one.
    pub session: Option<SessionId>,
    /// Its socket takes nothing.
    pub is_stalled: bool,
    pub heard: Vec<TestEvent>,
    pub refusals: Vec<TestRefusal>,
    pub accepted: Vec<Accepted>,
    pub closed: Option<CloseReason>,
    /// Why its replica broke first. A resync heals it, but it must not happen.
    pub broken: Option<ApplyError>,
    is_upgraded: bool,
}

impl TestClient {
    pub fn new(session: SessionId, name: &str) -> Self {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&session.index.to_le_bytes());
        nonce[4..8].copy_from_slice(&session.generation.to_le_bytes());
        Self {
            name: name.to_owned(),
            client: Client::connect("test", "/ws", nonce),
            session: Some(session),
            is_stalled: false,
            heard: Vec::new(),
            refusals: Vec::new(),
            accepted: Vec::new(),
            closed: None,
            broken: None,
            is_upgraded: false,
        }
    }

    /// Goes on over the connection of `other`; returns the one it had, if that is still there.
    pub fn reconnect(&mut self, other: Self) -> Option<SessionId> {
        self.client = other.client;
        self.is_stalled = false;
        self.is_upgraded = false;
        self.closed = None;
        std::mem::replace(&mut self.session, other.session)
    }

    /// Takes in whole frames, one by one: a replica knows only what its last delta said.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = if self.is_upgraded { frame_bytes(bytes) } else { bytes.len() };
            let (frame, rest) = bytes.split_at(length.min(bytes.len()));
            self.client.handle_bytes(frame);
            while let Some(event) = self.client.poll_event() {
                self.handle_event(event);
            }
            bytes = rest;
        }
    }

    fn handle_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Upgraded => self.is_upgraded = true,
            ClientEvent::Applied { .. } => self.listen(),
            ClientEvent::Broken(error) => drop(self.broken.get_or_insert(error)),
            ClientEvent::Refused { code, message, op, .. } => {
                self.refusals.push(TestRefusal { code, message: message.into(), op });
            }
            ClientEvent::Accepted(accepted) => self.accepted.push(accepted),
            ClientEvent::Closed(reason) => self.closed = Some(reason),
            ClientEvent::Joined
            | ClientEvent::TimeSync(_)
            | ClientEvent::GoAway { .. }
            | ClientEvent::Left(_) => {}
            ClientEvent::Unknown(tag) => unreachable!("the server sends unknown messages: {tag}"),
            ClientEvent::UpgradeFailed(error) => unreachable!("no upgrade: {error}"),
        }
    }

    fn listen(&mut self) {
        let Some(seat) = self.client.seat() else { return };
        let topics = seat.replica.entities().schema().topics();
        for event in seat.replica.heard().iter() {
            self.heard.push(TestEvent {
                topic: topics[event.topic.index()].name.to_string(),
                from: event.from,
                is_private: event.stream == StreamId::MEMBER,
                body: event.body.to_vec(),
            });
        }
    }
}

/// The length of the first of a server's frames, which have no mask.
fn frame_bytes(bytes: &[u8]) -> usize {
    match bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [_, 127, 0, 0, 0, 0, a, b, c, d, ..] => 10 + u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        [_, short, ..] => 2 + usize::from(*short),
        _ => bytes.len(),
    }
}
