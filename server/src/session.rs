//! One untrusted client: from the first byte of its request to its last close frame.
//!
//! ```text
//! Head --upgrade /ws--> Joining --Join--> Active --Leave--> Joining
//!   |   \--upgrade /echo--> Echo            |
//!   |                                       v
//!   +--plain HTTP, refusals--> Draining <--close from anybody
//! ```
//!
//! An encrypted connection agrees on keys in `Head`, under a deadline of its own, and its head's time
//! begins after it.
//!
//! Every state has a deadline, so nobody stays for ever without doing anything. A session knows
//! bytes and messages; which room it sits in is a note for the shard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tickloom_protocol::client_message::{Join, JoinMode, Resume};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{MemberId, OpId, RoomKey, Tick};
use tickloom_protocol::link::{Link, binary_frame};
use tickloom_protocol::server_message::{RefusalCode, Refused, ServerEncoder, ServerMessage};
use tickloom_protocol::time::Timestamp;

use crate::addresses::Counted;
use crate::allowance::Usage;
use crate::outbox::Outbox;
use crate::properties::Properties;
use crate::room::RoomId;
use crate::room::write::Refusal;
use crate::tls::Tls;

/// A session of one shard. The generation tells it from an earlier session at the same index, so
/// a stale id is nobody's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId {
    /// Position in the shard's table.
    pub index: u32,
    /// How often that position was used before.
    pub generation: u32,
}

impl SessionId {
    /// The id of no session, now or ever.
    pub const NOBODY: Self = Self { index: u32::MAX, generation: u32::MAX };
}

/// Joins that may be refused in a row before the connection closes: a full room is an answer, a
/// client that keeps asking is a load.
pub const REFUSALS_MAX: u32 = 16;

/// Where a connection comes from that has no socket: those of tests.
pub const NO_SOCKET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long each state may last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// From the connection to keys that both ends have agreed on, when it is encrypted.
    pub handshake: Duration,
    /// From the connection, or from agreed keys, to a complete request head.
    pub head: Duration,
    /// From the upgrade, or from leaving a room, to a seat.
    pub join: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// Silence before the server pings.
    pub ping: Duration,
    /// From the ping to any sign of life.
    pub pong: Duration,
    /// From the last message to the end of the connection.
    pub drain: Duration,
}

/// Where a session is in its life.
#[derive(Debug)]
pub enum Phase {
    /// Reads the request head; what came so far.
    Head(Vec<u8>),
    /// Sends back what it receives, for conformance suites and comparisons.
    Echo(Box<Link>),
    /// Upgraded, without a seat.
    Joining(Box<Link>),
    /// Sits in a room.
    Active(Box<Link>, Seat),
    /// Everything is said; what is queued leaves, then the connection ends.
    Draining {
        /// The other end will send nothing more.
        peer_done: bool,
        /// Our end was told to send nothing more.
        shut_down: bool,
    },
}

/// Which seat a session has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The room, on this shard.
    pub room: RoomId,
    /// The seat in it.
    pub member: MemberId,
}

/// A join on its way to the shard that owns the room. Everything in it is checked.
#[derive(Clone, PartialEq, Debug)]
pub struct PendingJoin {
    /// Which room. Its name is empty as long as the server has not chosen one.
    pub key: RoomKey,
    /// Who chose the name.
    pub naming: Naming,
    /// Whether the room may or must exist.
    pub mode: JoinMode,
    /// Whether only to watch.
    pub spectates: bool,
    /// The password of a private room.
    pub password: Box<str>,
    /// A token for a reserved seat; empty without one.
    pub seat: Box<[u8]>,
    /// What a new room says of itself.
    pub metadata: Properties,
    /// What a room that is found must say of itself.
    pub filter: Properties,
    /// What the member wants to be called.
    pub name: Box<str>,
    /// Bytes for the room's logic.
    pub options: Box<[u8]>,
    /// The seat it says it had.
    pub resume: Option<Box<Claim>>,
}

/// What a client says it had when its connection broke; nothing of it is known to be true.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The seat.
    pub member: MemberId,
    /// What proves that it was its own.
    pub token: Box<[u8]>,
    /// The tick of its replica.
    pub tick: Tick,
    /// The number of the first public event it has not heard; 0 when it has heard of none.
    pub events_from: u64,
    /// The same for those said to it alone.
    pub private_from: u64,
}

impl From<Resume<'_>> for Claim {
    fn from(resume: Resume<'_>) -> Self {
        let Resume { member, token, tick, events_from, private_from } = resume;
        Self { member, token: token.into(), tick, events_from, private_from }
    }
}

/// Who chose the name of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// The client.
    Client,
    /// The client, but for how a code is written.
    Code,
    /// The server, which has looked so often for a room that fits.
    Server {
        /// How often.
        searches: u8,
    },
}

impl PendingJoin {
    /// A join of the room of this name, which is made when it is not there.
    #[must_use]
    pub fn new(key: RoomKey, name: &str) -> Self {
        Self {
            key,
            naming: Naming::Client,
            mode: JoinMode::JoinOrCreate,
            spectates: false,
            password: Box::default(),
            seat: Box::default(),
            metadata: Properties::default(),
            filter: Properties::default(),
            name: name.into(),
            options: Box::default(),
            resume: None,
        }
    }

    /// What a client asks for, if that can be.
    pub(crate) fn of(join: &Join<'_>) -> Result<Self, Refusal> {
        // Who watches makes no room, and says which.
        let mode = if join.spectate { JoinMode::Join } else { join.mode };
        let is_unnamed = join.room.is_empty() && mode != JoinMode::Join;
        // Any name will do to look at the type.
        let key = RoomKey::parse(join.room_type, if is_unnamed { "any" } else { join.room });
        let Some(mut key) = key else {
            let message = "a room's name is 1 to 64 bytes without control characters";
            return Err(Refusal::new(RefusalCode::BadRoomName, message));
        };
        let mut naming = Naming::Client;
        if is_unnamed {
            (key.room, naming) = (Box::default(), Naming::Server { searches: 0 });
        }
        let properties = |what, bytes| {
            Properties::parse(bytes).map_err(|error| {
                Refusal::new(RefusalCode::BadOptions, format!("the {what} is of no use: {error}"))
            })
        };
        Ok(Self {
            key,
            naming,
            mode,
            spectates: join.spectate,
            password: join.password.into(),
            seat: join.seat.into(),
            metadata: properties("metadata", join.metadata)?,
            filter: properties("filter", join.filter)?,
            name: join.name.into(),
            options: join.options.into(),
            resume: join.resume.map(|resume| Box::new(resume.into())),
        })
    }
}

/// Our side of one client.
#[derive(Debug)]
pub struct Session {
    pub(crate) phase: Phase,
    pub(crate) peer: SocketAddr,
    /// Whom its limits are counted for: the peer, or whom a trusted proxy speaks for.
    pub(crate) client: IpAddr,
    /// Its address is known and may connect.
    pub(crate) is_admitted: bool,
    /// Its part of what its address has; `None` for addresses that are not counted.
    pub(crate) counted: Option<Counted>,
    /// What came so far of the PROXY protocol header that must come before everything else;
    /// `None` when none must, or when it has come.
    pub(crate) proxy_header: Option<Vec<u8>>,
    /// Its end of TLS, when the connection is encrypted.
    pub(crate) tls: Option<Box<Tls>>,
    pub(crate) outbox: Outbox,
    /// When the present phase runs out. In the shard's set of deadlines exactly when the session
    /// is in its table.
    pub(crate) deadline: Timestamp,
    /// When bytes last arrived.
    pub(crate) heard_at: Timestamp,
    /// A ping is out, and nothing came since.
    pub(crate) pinged: bool,
    /// When the message that is under way began, as far as reads tell: that was the first to leave
    /// it unfinished.
    pub(crate) message_since: Option<Timestamp>,
    /// When a look at the queue found bytes of which none has left since.
    pub(crate) stuck_since: Option<Timestamp>,
    pub(crate) refusals: u32,
    /// Set while the session travels to the shard that owns the room; few do, and all have a place
    /// for it.
    pub(crate) pending_join: Option<Box<PendingJoin>>,
    /// Bytes behind the `Join` that made the session travel.
    pub(crate) unread: Vec<u8>,
    /// Already in the list of sessions to flush.
    pub(crate) flush_listed: bool,
    /// When the edge reads it, unless it is paused.
    pub(crate) reads: Reads,
    /// What it sent so far, against what it may.
    pub(crate) usage: Usage,
    /// Set while it is not read because it is ahead of its rates. In the shard's set of pauses
    /// exactly then.
    pub(crate) resume_at: Option<Timestamp>,
}

/// When the edge reads a session's socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// When something arrives.
    OnArrival,
    /// Just before its room ticks. What arrives for a tick has no effect before it, and waking
    /// for each message of a game costs more than reading it. Then the read, the tick and the
    /// write also find each other's memory in the cache.
    OnTurn,
    /// Not until another word: it is ahead of what it may send. Its end is not looked for either.
    Later,
}

impl Session {
    /// A session whose client has not said anything yet.
    #[must_use]
    pub(crate) fn new(
        now: Timestamp,
        peer: SocketAddr,
        outbox: Outbox,
        patience: &Patience,
    ) -> Self {
        Self {
            phase: Phase::Head(Vec::new()),
            peer,
            client: peer.ip().to_canonical(),
            is_admitted: false,
            counted: None,
            proxy_header: None,
            tls: None,
            outbox,
            deadline: now + patience.head,
            heard_at: now,
            pinged: false,
            message_since: None,
            stuck_since: None,
            refusals: 0,
            pending_join: None,
            unread: Vec::new(),
            flush_listed: false,
            reads: Reads::OnArrival,
            usage: Usage::default(),
            resume_at: None,
        }
    }

    /// Where its connection comes from: the client, or a proxy in front of it.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The client's address: the peer's, unless that is a trusted proxy which says otherwise.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether anything is still to be sent.
    #[must_use]
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Says to the other end of TLS that nothing follows, when nothing does.
    pub(crate) fn say_last(&mut self) {
        if let Some(tls) = &mut self.tls
            && self.outbox.is_empty()
            && matches!(self.phase, Phase::Draining { .. })
        {
            tls.close();
        }
    }

    /// Whether it is one of its address's connections.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// The session's WebSocket, once there is one.
    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.phase {
            Phase::Echo(link) | Phase::Joining(link) | Phase::Active(link, _) => Some(link),
            Phase::Head(_) | Phase::Draining { .. } => None,
        }
    }

    /// The session's seat, if it has one.
    #[must_use]
    pub(crate) fn seat(&self) -> Option<Seat> {
        match &self.phase {
            Phase::Active(_, seat) => Some(*seat),
            Phase::Head(_) | Phase::Echo(_) | Phase::Joining(_) | Phase::Draining { .. } => None,
        }
    }

    /// Queues one message as a frame of its own.
    pub(crate) fn send(&mut self, encoder: &mut ServerEncoder, message: &ServerMessage<'_>) {
        self.outbox.push(binary_frame(encoder.encode(message)));
    }

    /// Says no to a join; the connection stays usable for another try.
    pub(crate) fn refuse(&mut self, encoder: &mut ServerEncoder, code: RefusalCode, message: &str) {
        self.refusals += 1;
        self.refuse_op(encoder, OpId::NONE, &Refusal::new(code, message));
    }

    /// Says no to something that has a number.
    pub(crate) fn refuse_op(&mut self, encoder: &mut ServerEncoder, op: OpId, refusal: &Refusal) {
        let Refusal { code, message, retry } = refusal;
        let usual_ms = match code {
            RefusalCode::RoomFull | RefusalCode::ServerFull => 1_000,
            RefusalCode::Busy => 100,
            RefusalCode::UnknownRoomType
            | RefusalCode::BadRoomName
            | RefusalCode::BadOptions
            | RefusalCode::AlreadyJoined
            | RefusalCode::NotJoined
            | RefusalCode::Denied
            | RefusalCode::NotAllowed
            | RefusalCode::Conflict
            | RefusalCode::Invalid
            | RefusalCode::UnknownRoom
            | RefusalCode::RoomExists
            | RefusalCode::RoomLocked
            | RefusalCode::WrongPassword
            | RefusalCode::BadSeat => 0,
        };
        let retry_ms = retry.map_or(usual_ms, |retry| retry.as_micros().div_ceil(1_000) as u32);
        let refused = Refused { code: *code, message, retry_ms, op };
        self.send(encoder, &ServerMessage::Refused(refused));
    }

    /// Sends a close frame if that still has a meaning, and stops listening.
    pub(crate) fn close(&mut self, reason: &CloseReason) {
        if let Some(link) = self.link_mut() {
            let mut frame = Vec::new();
            link.close(reason, &mut frame);
            self.outbox.push(Bytes::from(frame));
        }
        self.phase = Phase::Draining { peer_done: false, shut_down: false };
    }

    /// Takes the link out of the phase, which the caller replaces.
    pub(crate) fn take_link(&mut self) -> Option<Box<Link>> {
        let draining = Phase::Draining { peer_done: false, shut_down: false };
        match std::mem::replace(&mut self.phase, draining) {
            Phase::Echo(link) | Phase::Joining(link) | Phase::Active(link, _) => Some(link),
            Phase::Head(_) | Phase::Draining { .. } => None,
        }
    }
}
