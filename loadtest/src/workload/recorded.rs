//! A player of a recording: does what somebody did, when they did it.
//!
//! A [`Script`] is a recording dealt out to its players: everything that one seat did is a part.
//! Clients take the parts in turn; those beyond the number of parts begin somewhere else in theirs,
//! so that no two do the same at once. When a part is over, it begins again.
//!
//! What a part did to entities of the recorded room may be nonsense in another: what the server
//! refuses of it is expected, and is work for the server all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::client_message::{ClientMessage, Write};
use tickloom_protocol::ids::{MemberId, OpId, Tick, TopicId};
use tickloom_protocol::recording::{Entry, Event, Header, LoggedAt, Reader, RecordingError};
use tickloom_protocol::server_message::{DeltaHead, RefusalCode};
use tickloom_protocol::time::Timestamp;

use super::acks::Acks;
use super::{Absence, MissingName, SPREAD, Workload};
use crate::client::{Ledger, Turn};
use crate::scenario::Scenario;
use crate::scenario::bots::{Bot, BotKind, Place, STAY_MS};
use crate::scenario::phases::Phases;

/// A recording without a rate is played at the pace it was recorded; this is only what a client is
/// taken to send per second.
const RATE_HZ_OF_CHANGES: u32 = 1;

/// From the last thing a script does to its beginning, so that it can begin again.
const PAUSE: Duration = Duration::from_millis(100);

/// A recording, dealt out to its players, who share it.
#[derive(Clone, Debug)]
pub struct Script(Arc<Deal>);

#[derive(Debug)]
struct Deal {
    /// As it was read, for other processes.
    file: Vec<u8>,
    header: Header,
    /// From its beginning to its next beginning.
    length_us: u64,
    /// At least one.
    parts: Vec<Arc<Part>>,
}

/// What one player does.
#[derive(Debug, Default)]
struct Part {
    /// Microseconds since the recording began, strictly ascending, and what is done then.
    acts: Vec<(u64, Act)>,
    /// What the acts are about, back to back.
    bytes: Vec<u8>,
}

/// One thing that a player does, with the place of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Input {
        start: u32,
        bytes: u8,
    },
    Write {
        start: u32,
        bytes: u32,
    },
    /// To everybody, or to oneself instead of to some.
    Publish {
        topic: TopicId,
        to_all: bool,
        start: u32,
        bytes: u32,
    },
}

/// Why a recording cannot be played.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Nobody does anything in it.
    #[error("nobody does anything in this recording")]
    Empty,
    /// The first joiner sent what this program cannot send for each of its rooms.
    #[error("the options of its room are no text, and only text can be sent with a join here")]
    Options,
}

impl Script {
    /// Deals a recording out to its players.
    ///
    /// # Errors
    /// Why it cannot be played.
    pub fn parse(file: &[u8]) -> Result<Self, ScriptError> {
        let mut reader = Reader::open(file)?;
        let header = reader.header().clone();
        if str::from_utf8(&header.options).is_err() {
            return Err(ScriptError::Options);
        }
        let (mut seated, mut parts) = (BTreeMap::<MemberId, Part>::new(), Vec::new());
        let mut end_us = 0;
        while let Some(entry) = reader.next()? {
            let Entry::Event(moment, event) = entry else { continue };
            let at_us = time_of(moment, header.tick_rate_hz);
            end_us = end_us.max(at_us);
            match event {
                // Who gets the seat shows when they do something. Watchers do nothing, and what hosts
                // order depends on who is here.
                Event::Join { .. }
                | Event::Spectate { .. }
                | Event::Configure { .. }
                | Event::Saw { .. }
                | Event::Kick { .. }
                | Event::Drop(_)
                | Event::Return(_)
                | Event::PassOver(_) => {}
                Event::Leave(member) => parts.extend(seated.remove(&member)),
                Event::Input { member, row, .. } => {
                    let part = seated.entry(member).or_default();
                    let start = part.put(row);
                    part.push(at_us, Act::Input { start, bytes: row.len() as u8 });
                }
                Event::Write { member, changes, .. } => {
                    let part = seated.entry(member).or_default();
                    let start = part.put(changes);
                    part.push(at_us, Act::Write { start, bytes: changes.len() as u32 });
                }
                Event::Publish { member, topic, to, body } => {
                    let part = seated.entry(member).or_default();
                    let (start, to_all) = (part.put(body), to.is_empty());
                    let bytes = body.len() as u32;
                    part.push(at_us, Act::Publish { topic, to_all, start, bytes });
                }
            }
        }
        parts.extend(seated.into_values());
        let parts: Vec<_> = parts.into_iter().map(Arc::new).collect();
        if parts.is_empty() {
            return Err(ScriptError::Empty);
        }
        // Acts at one moment are a microsecond apart each.
        let last_us = parts.iter().filter_map(|part| part.acts.last()).map(|(at_us, _)| *at_us);
        let length_us = last_us.max().unwrap_or(0).max(end_us) + PAUSE.as_micros() as u64;
        Ok(Self(Arc::new(Deal { file: file.into(), header, length_us, parts })))
    }

    /// Rooms like the recorded one, with as many players as it had over time.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let ticks = self.0.header.tick_rate_hz > 0;
        let bot = Bot {
            weight: 1,
            kind: if ticks { BotKind::Arena } else { BotKind::State },
            room_type: self.0.header.room.room_type.to_string(),
            room_size: self.0.parts.len() as u32,
            rate_hz: if ticks { self.0.header.tick_rate_hz } else { RATE_HZ_OF_CHANGES },
            payload_bytes: (0, 0),
            read_rate: None,
            stay_ms: STAY_MS,
            options: String::from_utf8_lossy(&self.0.header.options).into_owned(),
        };
        Scenario {
            name: "recording".to_owned(),
            phases: Phases(Vec::new()),
            bots: vec![bot],
            thresholds: Vec::new(),
        }
    }

    /// Ticks per second of the recorded room; 0 when it had no rate.
    #[must_use]
    pub fn tick_rate_hz(&self) -> u32 {
        self.0.header.tick_rate_hz
    }

    /// What client `index` of a run does that begins at `start`.
    #[must_use]
    pub fn role(&self, start: Timestamp, index: u32) -> Role {
        let parts_count = self.0.parts.len() as u32;
        let share = |number: u32| u64::from(number).wrapping_mul(SPREAD) >> 32;
        let of =
            |length_us: u64, share: u64| ((u128::from(length_us) * u128::from(share)) >> 32) as u64;
        // Everybody acted when a tick was taken; real players do so in between.
        let tick_us = 1_000_000_u64.checked_div(self.0.header.tick_rate_hz.into()).unwrap_or(0);
        Role {
            part: Arc::clone(&self.0.parts[(index % parts_count) as usize]),
            start: start + Duration::from_micros(of(tick_us, share(index))),
            offset_us: of(self.0.length_us, share(index / parts_count)),
            length_us: self.0.length_us,
            input_row_bytes: self.0.header.input_row_bytes,
        }
    }
}

/// When something happened: by the tick in a room with a rate, which slips of its clock do not
/// move.
fn time_of(moment: LoggedAt, tick_rate_hz: u32) -> u64 {
    let by_tick = (u64::from(moment.tick.0) * 1_000_000).checked_div(tick_rate_hz.into());
    by_tick.unwrap_or_else(|| moment.ms.saturating_mul(1_000))
}

impl Part {
    /// The place of these bytes. A row that was just there is not put there again.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        if !self.bytes.ends_with(bytes) {
            self.bytes.extend_from_slice(bytes);
        }
        (self.bytes.len() - bytes.len()) as u32
    }

    fn push(&mut self, at_us: u64, act: Act) {
        let next_us = self.acts.last().map_or(0, |(last_us, _)| last_us + 1);
        self.acts.push((at_us.max(next_us), act));
    }

    fn bytes(&self, start: u32, count: u32) -> &[u8] {
        let rest = self.bytes.get(start as usize..).unwrap_or_default();
        rest.get(..count as usize).unwrap_or_default()
    }
}

/// A part, and when its player plays it.
#[derive(Clone, Debug)]
pub struct Role {
    part: Arc<Part>,
    start: Timestamp,
    /// How far into the script the player begins.
    offset_us: u64,
    length_us: u64,
    input_row_bytes: usize,
}

impl Role {
    /// When act `k` is meant to happen, counted from the script's beginning before the start.
    pub(super) fn intended(&self, k: u64) -> Option<Timestamp> {
        let count = self.part.acts.len() as u64;
        let (round, within) = (k.checked_div(count)?, k.checked_rem(count)?);
        let (at_us, _) = self.part.acts.get(within as usize)?;
        let since_us = round.checked_mul(self.length_us)?.checked_add(*at_us)?;
        Some(Timestamp((self.start.0 + since_us).saturating_sub(self.offset_us)))
    }

    /// The first act that is meant to happen at `at` or later.
    pub(super) fn first_from(&self, at: Timestamp) -> u64 {
        let since_us = (at.0 + self.offset_us).saturating_sub(self.start.0);
        let (round, within_us) = (since_us / self.length_us, since_us % self.length_us);
        let within = self.part.acts.partition_point(|(at_us, _)| *at_us < within_us);
        round * self.part.acts.len() as u64 + within as u64
    }

    fn act(&self, intended: Timestamp) -> Option<Act> {
        let count = self.part.acts.len() as u64;
        let within = self.first_from(intended).checked_rem(count)?;
        self.part.acts.get(within as usize).map(|(_, act)| *act)
    }
}

/// A player of a part.
pub(super) struct Recorded {
    role: Role,
    acks: Acks,
    member: MemberId,
}

impl Recorded {
    pub(super) fn new(role: Role, place: &Place<'_>) -> Self {
        let acks = Acks::new(place.read_rate.is_some());
        Self { role, acks, member: MemberId::SERVER }
    }
}

impl Workload for Recorded {
    fn handle_joined(&mut self, seat: &Seat) -> Result<(), MissingName> {
        let schema = seat.replica.entities().schema();
        if schema.input().row_bytes() != self.role.input_row_bytes {
            return Err(MissingName {
                what: "input of the recording's length, such as",
                name: "row",
            });
        }
        self.member = seat.member;
        Ok(())
    }

    fn act(&mut self, intended: Timestamp, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let Some(act) = self.role.act(intended) else { return };
        let part = &self.role.part;
        match act {
            Act::Input { start, bytes } => {
                if let Some(seq) = protocol.input(part.bytes(start, bytes.into())) {
                    self.acks.push(seq, intended, turn);
                }
            }
            Act::Write { start, bytes } => {
                let changes = part.bytes(start, bytes);
                let write = Write { op: OpId::NONE, if_tick: Tick::ZERO, changes };
                protocol.send(ClientMessage::Write(write));
                turn.tally.counters.ops_sent += u64::from(turn.window.contains(intended));
            }
            Act::Publish { topic, to_all, start, bytes } => {
                let to = [self.member];
                let to = if to_all { &[][..] } else { &to };
                protocol.publish(topic, to, part.bytes(start, bytes));
                turn.tally.counters.ops_sent += u64::from(turn.window.contains(intended));
            }
        }
    }

    fn handle_applied(&mut self, head: DeltaHead, _seat: &Seat, turn: &mut Turn<'_>) {
        self.acks.handle_applied(head, turn);
    }

    fn handle_absence(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        self.acks.handle_absence(absence, turn);
    }

    fn handle_refused(&mut self, _op: OpId, _code: RefusalCode, _turn: &mut Turn<'_>) -> bool {
        true
    }

    fn finish(&mut self, _seat: Option<&Seat>, turn: &mut Turn<'_>, ledger: &mut Ledger) {
        self.acks.finish(turn, ledger);
    }
}

/// Two scripts of the same file are the same.
impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        self.0.file == other.0.file
    }
}

impl Eq for Script {}

impl Serialize for Script {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0.file))
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let file = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        Self::parse(&file).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::client_message::Recipients;
    use tickloom_protocol::ids::{InputSeq, RoomKey};
    use tickloom_protocol::recording::{Recorder, prologue};

    use super::*;

    fn header(tick_rate_hz: u32) -> Header {
        Header {
            server: "1".into(),
            room: RoomKey::parse("tag", "a").expect("a name"),
            seed: 1,
            options: b"{}"[..].into(),
            metadata: [].into(),
            tick_rate_hz,
            spec_hash: 0,
            input_row_bytes: 2,
        }
    }

    /// Two players at 10 Hz for two seconds; the second comes, says something and leaves early.
    fn script() -> Script {
        let mut recorder = Recorder::new(&header(10));
        let input = |recorder: &mut Recorder, member, seq, row: &[u8; 2]| {
            recorder.push(&Event::Input { member: MemberId(member), seq: InputSeq(seq), row });
        };
        for tick in 1..=20_u32 {
            input(&mut recorder, 1, tick, &[1, (tick / 8) as u8]);
            match tick {
                2..5 => input(&mut recorder, 2, tick, &[2, 2]),
                5 => {
                    let mut buffer = Vec::new();
                    let to = Recipients::put(&[MemberId(1)], &mut buffer);
                    let (member, topic) = (MemberId(2), TopicId(3));
                    recorder.push(&Event::Publish { member, topic, to, body: b"bye" });
                    recorder.push(&Event::Leave(MemberId(2)));
                }
                _ => {}
            }
            recorder.end_tick(u64::from(tick) * 100 + 7_000);
        }
        let mut file = prologue(0);
        file.extend(recorder.take());
        Script::parse(&file).expect("a recording")
    }

    #[test]
    fn parts_are_what_one_seat_did_at_the_times_of_its_ticks() {
        let script = script();
        let [second, first] = &script.0.parts[..] else { panic!("{:?}", script.0.parts) };
        assert_eq!(first.acts.len(), 20);
        assert_eq!(first.acts[0], (100_000, Act::Input { start: 0, bytes: 2 }));
        assert_eq!(first.bytes, [1, 0, 1, 1, 1, 2], "a held row is there once");
        let times: Vec<_> = second.acts.iter().map(|(at_us, _)| *at_us).collect();
        assert_eq!(times, [200_000, 300_000, 400_000, 500_000]);
        let publish = Act::Publish { topic: TopicId(3), to_all: false, start: 2, bytes: 3 };
        assert_eq!(second.acts[3].1, publish);
        let bot = &script.scenario().bots[0];
        assert_eq!((&*bot.room_type, bot.room_size, bot.rate_hz), ("tag", 2, 10));
        assert_eq!((bot.kind, &*bot.options), (BotKind::Arena, "{}"));
    }

    #[test]
    fn who_is_beyond_the_recorded_players_begins_elsewhere_and_all_begin_again() {
        let script = script();
        let start = Timestamp(50_000_000);
        assert_eq!(script.0.length_us, 2_100_000);
        for index in 0..8 {
            let role = script.role(start, index);
            assert_eq!(role.offset_us == 0, index < 2, "{index}");
            let first = role.first_from(start);
            let moments: Vec<_> = (first..first + 60).filter_map(|k| role.intended(k)).collect();
            assert!(moments[0] >= start && moments.is_sorted(), "{index}: {moments:?}");
            for (k, at) in (first..).zip(&moments) {
                assert_eq!(role.first_from(*at), k, "{index}");
                let act = role.part.acts[(k % role.part.acts.len() as u64) as usize].1;
                assert_eq!(role.act(*at), Some(act), "{index}");
            }
            let count = role.part.acts.len();
            let round = moments[count].saturating_since(moments[0]);
            assert_eq!(round.as_micros() as u64, script.0.length_us, "{index}");
        }
    }

    #[test]
    fn a_script_travels_to_other_processes_and_a_bad_one_is_refused() {
        let script = script();
        let text = serde_json::to_string(&script).expect("JSON");
        assert_eq!(serde_json::from_str::<Script>(&text).expect("the same"), script);
        assert!(serde_json::from_str::<Script>("\"AAAA\"").is_err());
        let mut file = prologue(0);
        file.extend(Recorder::new(&header(10)).take());
        assert_eq!(Script::parse(&file), Err(ScriptError::Empty));
        assert_eq!(Script::parse(b"?"), Err(ScriptError::Recording(RecordingError::NotARecording)));
    }
}
