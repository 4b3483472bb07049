//! Rooms that are recorded and happen again. `REPLAY_TICKS` and `REPLAY_ROOMS` widen the sweep.

use std::thread;

use tickloom_server::prelude::*;
use tickloom_server::protocol::client_message::{Publish, Recipients};
use tickloom_server::protocol::ids::OpId;
use tickloom_server::protocol::recording::{EndReason, RecordingError, Tail};
use tickloom_server::recording::dump::Dump;
use tickloom_server::recording::replay::{Astray, Ending, Replay, ReplayError, Verdict};
use tickloom_server::room::Fate;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::described::Described;
use tickloom_server::room::recorded::Recorded;
use tickloom_server::room::world::World;

use crate::stage::Stage;

mod mangled;
mod stage;

fn knob(name: &str, default: u32) -> u32 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}

fn room_types() -> RoomTypes {
    RoomTypes::default()
        .with(Arena::new(30))
        .with(World::new(30))
        .with(Described::state())
        .with(Described::relay())
        .with(clocked("honest", None))
}

fn arena(ticks: u32) -> Vec<u8> {
    Stage::new(&room_types(), "arena", 5).recorded().run(ticks).end()
}

fn replay(file: &[u8], room_types: &RoomTypes) -> Result<Verdict, ReplayError> {
    Ok(Replay::open(file, room_types)?.run(None)?)
}

const EMPTY: Verdict = Verdict::AtEnd(Ending::Room(EndReason::Empty));

#[test]
fn every_room_comes_to_the_same_states_again_at_every_checkpoint() {
    let (rooms, ticks) = (knob("REPLAY_ROOMS", 40), knob("REPLAY_TICKS", 300));
    let mut totals = [0; 3];
    for seed in 0..u64::from(rooms) {
        let room_type = ["arena", "state", "world", "relay", "honest"][seed as usize % 5];
        let file = Stage::new(&room_types(), room_type, seed).recorded().run(ticks).end();
        let room_types = room_types();
        let mut replay = Replay::open(&file, &room_types).expect("a recording");
        let verdict = replay.run(None).expect("a whole one");
        assert_eq!(verdict, EMPTY, "seed {seed}, {room_type}");
        let done = replay.done();
        assert_eq!(done.checkpoints, u64::from(ticks / 60), "seed {seed}, {room_type}");
        for (total, count) in totals.iter_mut().zip([done.checkpoints, done.inputs, done.others]) {
            *total += count;
        }
    }
    println!("checkpoints, inputs, other events: {totals:?}");
    assert!(rooms < 40 || totals[2] > u64::from(ticks) * 20, "{totals:?}");
}

#[test]
fn recording_changes_no_state_in_any_tick() {
    for (seed, room_type) in [(1, "arena"), (2, "state"), (3, "relay")] {
        let stage = || Stage::new(&room_types(), room_type, seed);
        let [on, off] = [stage().recorded(), stage()].map(|stage| stage.run(200).hashes);
        assert_eq!(on, off, "{room_type}");
    }
}

#[test]
fn one_recording_gives_the_same_room_on_every_thread() {
    let file = arena(150);
    let dump = || {
        let room_types = room_types();
        let mut replay = Replay::open(&file, &room_types).expect("a recording");
        assert_eq!(replay.run(Some(Tick(130))), Ok(Verdict::Until));
        assert_eq!(replay.room().state().building(), Tick(131), "behind the tick asked for");
        (Dump(replay.room()).to_string(), replay.room().state_hash())
    };
    let here = dump();
    thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(dump)).collect();
        for other in others {
            assert_eq!(other.join().expect("no panic"), here);
        }
    });
    let (text, _) = here;
    for expected in ["arena/stage, before tick 131: ", "entity 0, the room\n  map: ", " yaw="] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

/// How a room finds out the time of day, which no room may.
#[derive(Clone, Copy)]
enum Where {
    InState,
    Hidden,
}

struct Clocked {
    looks: Option<Where>,
    /// What it saw and shows, and what it saw and keeps to itself.
    shown: Option<u32>,
    hidden: u32,
}

impl RoomLogic for Clocked {
    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let dice = room.rng().u32(0..1_000);
        #[expect(clippy::disallowed_methods, reason = "the bug that is planted")]
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| age.as_nanos() as u32);
        let is_time = room.tick() == Tick(77);
        match self.looks {
            Some(Where::InState) if is_time => self.shown = Some(nanos),
            Some(Where::Hidden) if is_time => self.hidden = nanos,
            _ => {}
        }
        let number = f64::from(self.shown.unwrap_or(dice));
        room.state_mut().set_numbers(ComponentId(0), EntityId::ROOM, &[number]);
        Next::Tick
    }

    fn save(&self, output: &mut Vec<u8>) {
        output.extend(self.hidden.to_le_bytes());
    }
}

fn clocked(name: &str, looks: Option<Where>) -> impl RoomType + 'static {
    let number = ComponentDesc::packed("number", vec![FieldDesc::new("now", FieldType::U32)]);
    let input = vec![FieldDesc::new("pressed", FieldType::U8)];
    let schema = RoomSchema::new(vec![number.expect("a row")], input).expect("a schema");
    room_type(name, RoomSpec::at_rate(20, schema), move || Clocked {
        looks,
        shown: None,
        hidden: 0,
    })
}

#[test]
fn a_look_at_the_clock_is_caught_at_the_next_checkpoint() {
    for (looks, said) in [
        (Where::InState, "what members are shown is something else"),
        (Where::Hidden, "what the logic keeps to itself differs"),
    ] {
        let room_types = room_types().with(clocked("clocked", Some(looks)));
        let file = Stage::new(&room_types, "clocked", 3).recorded().run(200).end();
        let verdict = replay(&file, &room_types).expect("a recording");
        let Verdict::Astray(Astray::Hash { tick, recorded, replayed }) = &verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(*tick, Tick(120), "the one before was at 60");
        assert_ne!(
            recorded.hidden == replayed.hidden,
            recorded.shown == replayed.shown,
            "one of two"
        );
        let text = verdict.to_string();
        assert!(text.starts_with("desync: ") && text.contains(said), "{text}");
    }
}

#[test]
fn a_panic_happens_again_and_one_that_was_mended_does_not() {
    struct Fragile;
    impl RoomLogic for Fragile {
        fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
            assert_ne!(room.tick(), Tick(33), "thirty-three");
            Next::Tick
        }
    }
    let fragile = || {
        let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
        RoomTypes::default().with(room_type("fragile", RoomSpec::at_rate(20, schema), || Fragile))
    };
    let mut stage = Stage::new(&fragile(), "fragile", 3).recorded().run(32);
    stage.join();
    let report = stage.room.tick(stage.now, &mut stage.broadcast, &mut stage.lines);
    assert!(matches!(report.fate, Fate::Fails(_)), "{report:?}");
    let Recorded::Records(rest) = stage.room.end_recording(EndReason::Panicked) else {
        panic!("there is a rest");
    };
    stage.file.extend(rest);
    let verdict = replay(&stage.file, &fragile()).expect("a recording");
    let Verdict::AtEnd(Ending::Panicked(record)) = verdict else { panic!("{verdict:?}") };
    assert_eq!(record.tick, Tick(33));
    assert!(record.panicked.message.contains("thirty-three"), "{record:?}");
    let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
    struct Mended;
    impl RoomLogic for Mended {}
    let mended = room_type("fragile", RoomSpec::at_rate(20, schema), || Mended);
    let verdict = replay(&stage.file, &RoomTypes::default().with(mended)).expect("a recording");
    assert!(matches!(&verdict, Verdict::Astray(Astray::Fate { .. })), "{verdict:?}");
}

#[test]
fn a_file_that_was_cut_is_replayed_up_to_its_last_whole_record() {
    let file = arena(130);
    let (mut ticks_before, mut cuts) = (0, 0);
    for length in (0..file.len()).step_by(37) {
        match Replay::open(&file[..length], &room_types()) {
            Err(ReplayError::Recording(error)) => {
                let expected = match length {
                    0..19 => RecordingError::NotARecording,
                    _ => RecordingError::NoHeader,
                };
                assert_eq!(error, expected, "{length} bytes");
            }
            Err(error) => panic!("{length} bytes: {error}"),
            Ok(mut replay) => {
                let verdict = replay.run(None).expect("what is there is whole");
                let Verdict::AtEnd(Ending::Tail(tail)) = verdict else {
                    panic!("{length} bytes: {verdict:?}")
                };
                cuts += u32::from(matches!(tail, Tail::Cut(_)));
                let ticks = replay.done().ticks;
                assert!(ticks >= ticks_before, "{length} bytes: {ticks}");
                ticks_before = ticks;
            }
        }
    }
    assert!(cuts > 10 && ticks_before > 100, "{cuts} cuts, {ticks_before} ticks");
}

#[test]
fn damaged_bytes_are_named_and_never_replayed() {
    let file = arena(70);
    let room_types = room_types();
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..200 {
        let (mut damaged, at) = (file.clone(), rng.usize(0..file.len()));
        damaged[at] ^= 1 << rng.u8(0..8);
        match replay(&damaged, &room_types) {
            // A length that is too long looks like a file that was cut.
            Err(ReplayError::Recording(_)) | Ok(Verdict::AtEnd(Ending::Tail(Tail::Cut(_)))) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    let mut other_version = file.clone();
    other_version[19] = 2;
    let error = replay(&other_version, &room_types).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "this is a recording of format 2, and this program reads format 1"
    );
    let error = replay(b"\x7fELF", &room_types).expect_err("something else");
    assert_eq!(error, ReplayError::Recording(RecordingError::NotARecording));
}

#[test]
fn another_room_type_than_the_recorded_one_is_refused() {
    let file = arena(10);
    let error = replay(&file, &RoomTypes::default()).expect_err("no such type");
    assert_eq!(error.to_string(), "there is no room type `arena` here, of which the recording is");
    let faster = RoomTypes::default().with(Arena::new(60));
    let error = replay(&file, &faster).expect_err("another rate");
    assert!(error.to_string().ends_with("they tick at another rate"), "{error}");
    let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
    let smaller = room_type("arena", RoomSpec::at_rate(30, schema), || Clocked {
        looks: None,
        shown: None,
        hidden: 0,
    });
    let error = replay(&file, &RoomTypes::default().with(smaller)).expect_err("another schema");
    assert!(error.to_string().ends_with("their schema or their capacities are others"), "{error}");
}

#[test]
fn what_happens_faster_than_any_disk_takes_ends_the_recording_and_nothing_else() {
    let mut stage = Stage::new(&room_types(), "relay", 1).recorded();
    stage.join();
    let body = vec![0; 16_000];
    let member = *stage.seats.keys().next().expect("somebody joined");
    for _ in 0..100 {
        let mut buffer = Vec::new();
        let to = Recipients::put(&[], &mut buffer);
        let publish = Publish { op: OpId::NONE, topic: TopicId(0), to, body: &body };
        let _ = stage.room.handle_publish(member, &publish);
    }
    assert!(matches!(stage.room.take_recorded(), Recorded::Overfull));
    assert!(!stage.room.is_recorded());
    stage.tick();
    assert_eq!(stage.hashes.len(), 1, "the room goes on");
}
