//! Described rooms in the world: a board that members write, a feed on which they talk, and what
//! an honest member of either checks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::{Client, Seat};
use tickloom_protocol::events::OwnedEvent;
use tickloom_protocol::ids::{EntityId, MemberId, OpId, StreamId, Tick};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, TopicDesc, WritePolicy};
use tickloom_protocol::server_message::{Accepted, RefusalCode};
use tickloom_server::room::described::Described;
use tickloom_server::room::description::Description;
use tickloom_server::room::logic::{Context, Denial, Joiner, RoomLogic, RoomSpec, RoomType};

use crate::lobby::Seat as KeptSeat;

/// A described room that knows which one it is: rooms of one name come and go.
pub struct Marked(Described);

impl Marked {
    pub fn board() -> Self {
        let row = vec![FieldDesc::new("x", FieldType::U16), FieldDesc::new("y", FieldType::U16)];
        let members = WritePolicy::Members;
        let description = Description {
            members_max: 6,
            names_max: 3,
            spectators_max: 2,
            is_listed: true,
            entities_max: 40,
            components: vec![
                ComponentDesc::opaque("mark", "x/y", 8).writable_by(WritePolicy::Server),
                ComponentDesc::packed("cursor", row)
                    .expect("a row")
                    .writable_by(WritePolicy::Owner),
                ComponentDesc::props("shared").writable_by(members),
                ComponentDesc::opaque("item", "x/y", 64).writable_by(members),
                ComponentDesc::props("layer").as_tree().writable_by(members),
                ComponentDesc::props("secret").for_owner().writable_by(WritePolicy::Owner),
            ],
            ..Description::default()
        };
        Self(Described::new("board", description))
    }

    pub fn feed() -> Self {
        let description = Description {
            members_max: 6,
            spectators_max: 2,
            is_listed: true,
            entities_max: 40,
            // Few, so that those who fall behind miss some.
            events_max: 3,
            components: vec![ComponentDesc::opaque("mark", "x/y", 8)],
            topics: vec![
                TopicDesc { history: true, ..TopicDesc::new("chat") },
                TopicDesc::new("signal"),
                TopicDesc { publish: WritePolicy::Host, ..TopicDesc::new("quotes") },
            ],
            ..Description::default()
        };
        Self(Described::new("feed", description))
    }
}

impl RoomType for Marked {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn spec(&self) -> RoomSpec {
        self.0.spec()
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(MarkedLogic(self.0.create()))
    }
}

struct MarkedLogic(Box<dyn RoomLogic>);

impl RoomLogic for MarkedLogic {
    fn on_create(&mut self, room: &mut Context<'_>) {
        let mark = room.rng().u64(..).to_le_bytes();
        let component = room.state().schema().component("mark").expect("a mark");
        room.state_mut().set_opaque(component, EntityId::ROOM, &mark);
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        self.0.on_join(room, joiner)
    }

    fn on_host(&mut self, room: &mut Context<'_>, host: Option<MemberId>) {
        self.0.on_host(room, host);
    }

    fn on_drop(&mut self, room: &mut Context<'_>, member: MemberId) {
        self.0.on_drop(room, member);
    }

    fn on_return(&mut self, room: &mut Context<'_>, member: MemberId) {
        self.0.on_return(room, member);
    }

    fn on_leave(&mut self, room: &mut Context<'_>, member: MemberId) {
        self.0.on_leave(room, member);
    }

    fn save(&self, output: &mut Vec<u8>) {
        self.0.save(output);
    }
}

/// What all members together know of all rooms.
#[derive(Default)]
pub struct Truth {
    /// What was said to everybody, by room and number.
    said: BTreeMap<(u64, u64), OwnedEvent>,
    /// What the counter of a board was raised to, by those who were told that they did.
    counted: BTreeSet<(u64, i64)>,
    /// Seats that somebody has taken with their token.
    pub seats_taken: BTreeSet<KeptSeat>,
}

/// What an honest member of a described room has done and seen since it joined.
#[derive(Default)]
pub struct Witness {
    /// What it asked for and was not answered.
    asked: VecDeque<Asked>,
    /// Its cursor as it was accepted, and since which tick.
    cursors: VecDeque<(Tick, [u8; 4])>,
    /// What it said to everybody and is still to hear, and since which tick.
    own_words: Vec<(Tick, Box<[u8]>)>,
    /// The number of the next public event behind the first message with state.
    began: Option<u64>,
    heard_count: u64,
    lost: u64,
    /// The last word of each member, to see that nobody's come twice or out of order.
    last_words: BTreeMap<MemberId, u32>,
    words: u32,
}

struct Asked {
    op: OpId,
    deed: Deed,
    /// What it may be refused for.
    refusals: &'static [RefusalCode],
}

enum Deed {
    Cursor([u8; 4]),
    Count(i64),
    Say(Box<[u8]>),
    Other,
    /// What nobody may.
    Mischief,
}

/// What happened, to see that a sweep covers what it should.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub accepted: u64,
    pub refused: u64,
    pub conflicts: u64,
    pub heard: u64,
    pub lost: u64,
    pub history: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.conflicts += other.conflicts;
        self.heard += other.heard;
        self.lost += other.lost;
        self.history += other.history;
    }
}

fn mark_of(seat: &Seat) -> Option<u64> {
    let entities = seat.replica.entities();
    let component = entities.schema().component("mark")?;
    Some(u64::from_le_bytes(entities.opaque(component, EntityId::ROOM)?.try_into().ok()?))
}

impl Witness {
    /// Does something in the room, if it is one of these and its state is there.
    pub fn act(&mut self, client: &mut Client, rng: &mut fastrand::Rng) -> bool {
        let Some(seat) = client.seat() else { return false };
        if mark_of(seat).is_none() || seat.replica.tick() == Tick::ZERO {
            return false;
        }
        let asked = match seat.replica.entities().schema().topic("chat") {
            Some(_) => self.say(client, rng),
            None => write(client, rng),
        };
        self.asked.push_back(asked);
        true
    }

    /// It is back on its seat: what it heard goes on where it was. What was not answered may have
    /// happened or not, so nothing follows from it.
    pub fn comes_back(&mut self) {
        self.asked.clear();
        self.cursors.clear();
    }

    fn say(&mut self, client: &mut Client, rng: &mut fastrand::Rng) -> Asked {
        use RefusalCode::NotAllowed;
        let member = client.seat().expect("checked").member;
        let topic = ["chat", "chat", "signal", "quotes"][rng.usize(0..4)];
        let to: Vec<MemberId> = match rng.u8(0..4) {
            0 => (0..rng.usize(1..4)).map(|_| MemberId(rng.u16(1..12))).collect(),
            _ => Vec::new(),
        };
        self.words += 1;
        let mut body = Vec::new();
        body.extend(member.0.to_le_bytes());
        body.extend(self.words.to_le_bytes());
        body.resize(6 + rng.usize(0..400), 0);
        let id = client.seat().expect("checked").replica.entities().schema().topic(topic);
        let op = client.publish(id.expect("a topic"), &to, &body);
        let deed = if to.is_empty() { Deed::Say(body.into()) } else { Deed::Other };
        let refusals: &[RefusalCode] = if topic == "quotes" { &[NotAllowed] } else { &[] };
        Asked { op, deed, refusals }
    }

    /// A write or a publication was accepted.
    pub fn accepted(
        &mut self,
        client: &Client,
        accepted: &Accepted,
        truth: &mut Truth,
        counts: &mut Counts,
    ) {
        let asked = self.asked.pop_front().expect("answers come to those who asked");
        assert_eq!(asked.op, accepted.op, "answers come in order");
        counts.accepted += 1;
        let mark = client.seat().and_then(mark_of);
        match asked.deed {
            Deed::Cursor(row) => self.cursors.push_back((accepted.tick, row)),
            Deed::Count(count) => {
                let is_new = mark.is_none_or(|mark| truth.counted.insert((mark, count)));
                assert!(is_new, "two members raised the counter to {count}");
            }
            Deed::Say(body) => self.own_words.push((accepted.tick, body)),
            Deed::Other => {}
            Deed::Mischief => panic!("mischief was accepted"),
        }
    }

    pub fn refused(&mut self, op: OpId, code: RefusalCode, counts: &mut Counts) {
        let asked = self.asked.pop_front().expect("answers come to those who asked");
        assert_eq!(asked.op, op, "answers come in order");
        assert!(asked.refusals.contains(&code), "{code:?} is no reason to refuse {op:?}");
        counts.refused += 1;
        counts.conflicts += u64::from(code == RefusalCode::Conflict);
    }

    /// State came: what was accepted is in it, and what was said is in order.
    pub fn applied(
        &mut self,
        client: &Client,
        events: &[OwnedEvent],
        truth: &mut Truth,
        counts: &mut Counts,
    ) {
        let Some(seat) = client.seat() else { return };
        let Some(mark) = mark_of(seat) else { return };
        self.check_cursor(seat);
        let lost = seat.replica.heard().lost();
        counts.lost += lost - std::mem::replace(&mut self.lost, lost);
        for event in events {
            let member = MemberId(u16::from_le_bytes([event.body[0], event.body[1]]));
            assert_eq!(member, event.from, "nobody speaks for others");
            if event.stream == StreamId::ROOM {
                self.heard(mark, event, truth);
            }
        }
        let public = events.iter().filter(|event| event.stream == StreamId::ROOM).count() as u64;
        let expected = seat.replica.heard().expected().0;
        match self.began {
            None => {
                self.began = Some(expected);
                counts.history += public;
            }
            Some(_) => self.heard_count += public,
        }
        counts.heard += events.len() as u64;
        let tick = seat.replica.tick();
        let is_late = |(said, _): &(Tick, Box<[u8]>)| *said <= tick;
        assert!(lost > 0 || !self.own_words.iter().any(is_late), "it did not hear itself");
    }

    fn heard(&mut self, mark: u64, event: &OwnedEvent, truth: &mut Truth) {
        let word = u32::from_le_bytes(event.body[2..6].try_into().expect("four bytes"));
        let last = self.last_words.insert(event.from, word);
        assert!(last.is_none_or(|last| last < word), "{word} of {:?} after {last:?}", event.from);
        let known = truth.said.entry((mark, event.seq.0)).or_insert_with(|| event.clone());
        assert_eq!(known, event, "everybody hears the same under a number");
        self.own_words.retain(|(_, body)| *body != event.body);
    }

    fn check_cursor(&mut self, seat: &Seat) {
        while self.cursors.get(1).is_some_and(|(since, _)| *since <= seat.replica.tick()) {
            self.cursors.pop_front();
        }
        let Some((since, row)) = self.cursors.front() else { return };
        if *since <= seat.replica.tick() {
            let entities = seat.replica.entities();
            let component = entities.schema().component("cursor").expect("a cursor");
            let shown = entities.row(component, seat.entity);
            assert_eq!(shown, Some(&row[..]), "what was accepted shows in its tick");
        }
    }

    /// Everything has arrived: `next` is the number of the room's next public event.
    pub fn check_complete(&self, seat: &Seat, next: u64) {
        if mark_of(seat).is_none() {
            return;
        }
        let heard = seat.replica.heard();
        assert_eq!(heard.expected().0, next.max(1), "it has heard of everything");
        let began = self.began.expect("it has state");
        // What was said to it alone and lost is counted, too, but not in these numbers.
        assert!(self.heard_count + heard.lost() >= next - began, "nothing is missing uncounted");
        assert!(self.heard_count <= next - began, "nothing came twice");
        assert!(heard.lost() > 0 || self.heard_count == next - began, "every number was heard");
    }
}

/// A write that fits, mostly.
fn write(client: &mut Client, rng: &mut fastrand::Rng) -> Asked {
    use RefusalCode::{Conflict, Invalid, NotAllowed, RoomFull};
    let seat = client.seat().expect("checked");
    let entities = seat.replica.entities();
    let schema = entities.schema();
    let component = |name| schema.component(name).expect("a board has it");
    let all: Vec<EntityId> = entities.ids().collect();
    let mut pick = || all[rng.usize(0..all.len())];
    let (any, other) = (pick(), pick());
    let mut changes = ChangesBuilder::default();
    let mut if_tick = Tick::ZERO;
    let (deed, refusals): (Deed, &[RefusalCode]) = match rng.u8(0..12) {
        0..=3 => {
            let row = rng.u32(..).to_le_bytes();
            changes.row(component("cursor"), seat.entity, &row);
            (Deed::Cursor(row), &[])
        }
        4..=5 => {
            let shared = component("shared");
            let props = entities.props(shared, EntityId::ROOM);
            let count = match props.and_then(|props| props.get("count")) {
                Some(Value::Int(count)) => count + 1,
                _ => 1,
            };
            changes.prop(shared, EntityId::ROOM, "count", &Value::Int(count));
            if_tick = seat.replica.tick();
            (Deed::Count(count), &[Conflict])
        }
        6 => {
            let owner = if rng.bool() { seat.member } else { MemberId::SERVER };
            let item = changes.enter(owner);
            changes.opaque(component("item"), item, &rng.u64(..).to_le_bytes());
            changes.link(component("layer"), item, "parent", any);
            (Deed::Other, &[RoomFull, Invalid])
        }
        7 => {
            changes.leave(any);
            (Deed::Other, &[NotAllowed, Invalid])
        }
        8..=9 => {
            changes.link(component("layer"), any, "parent", other);
            changes.prop(component("layer"), any, "order", &Value::Str("a0".into()));
            (Deed::Other, &[Invalid])
        }
        10 => {
            let own = rng.u32(..).into();
            changes.prop(component("secret"), seat.entity, "s", &Value::Int(own));
            changes.remove(component("item"), any);
            (Deed::Other, &[Invalid])
        }
        _ => {
            changes.opaque(component("item"), any, b"x");
            changes.opaque(component("mark"), EntityId::ROOM, b"mine");
            (Deed::Mischief, &[NotAllowed, Invalid])
        }
    };
    Asked { op: client.write_if(&changes, if_tick), deed, refusals }
}
