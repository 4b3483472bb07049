//! Recordings that nobody recorded: bytes that changed and whose checksums are right all the same,
//! and events in an order that no server lets happen. Replaying one ends, with what is wrong or with
//! where it goes astray, and the rooms' logic is never told what it could not be told by a server.
//!
//! `MANGLED_SEEDS=100000` widens the sweep, `MANGLED_SEED=7` replays one seed.

use std::collections::BTreeMap;
use std::{env, thread};

use fastrand::Rng;
use tickloom_server::prelude::*;
use tickloom_server::protocol::chunks::{Reader as Pieces, put_bytes};
use tickloom_server::protocol::client_message::{Configure, Recipients};
use tickloom_server::protocol::ids::{InputSeq, Moment, OpId};
use tickloom_server::protocol::recording::{
    CHECKPOINT_TICKS, EndReason, Event, Header, MAGIC, Reader, Recorder, prologue,
};
use tickloom_server::recording::replay::{Astray, Replay, Verdict};

use crate::stage::Stage;
use crate::{knob, room_types};

const ROOM_TYPES: [&str; 5] = ["arena", "state", "relay", "world", "honest"];

/// Prints the seed while a failed assertion unwinds through it.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("seed={} (replay with MANGLED_SEED={})", self.0, self.0);
        }
    }
}

fn for_each_seed(seeds: u32, mut check: impl FnMut(u64, &mut Rng)) {
    let all = match env::var("MANGLED_SEED") {
        Ok(_) => u64::from(knob("MANGLED_SEED", 0))..u64::from(knob("MANGLED_SEED", 0)) + 1,
        Err(_) => 0..u64::from(knob("MANGLED_SEEDS", seeds)),
    };
    for seed in all {
        let seed = Seed(seed);
        check(seed.0, &mut Rng::with_seed(seed.0));
    }
}

/// The bodies of a file's records.
fn bodies(file: &[u8]) -> Vec<Vec<u8>> {
    let (mut reader, mut bodies) = (Pieces::new(&file[prologue(0).len()..]), Vec::new());
    while !reader.is_empty() {
        bodies.push(reader.sized().expect("a whole record").to_vec());
        reader.u32().expect("its checksum");
    }
    bodies
}

/// A file of records with these bodies and the checksums that belong to them.
fn sealed(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut file = prologue(7);
    for body in bodies {
        put_bytes(&mut file, body);
        file.extend(crc32fast::hash(body).to_le_bytes());
    }
    file
}

/// Changes a few bytes of a few records, or which records there are.
fn mangle(rng: &mut Rng, bodies: &mut Vec<Vec<u8>>) {
    for _ in 0..rng.usize(1..4) {
        let index = if rng.u8(0..8) == 0 { 0 } else { rng.usize(0..bodies.len()) };
        let body = &mut bodies[index];
        let at = rng.usize(0..body.len().max(1));
        match rng.u8(0..8) {
            _ if body.is_empty() => {}
            0 => body.truncate(at),
            1..4 => body[at] ^= 1 << rng.u8(0..8),
            4 => body[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0xff]).expect("five"),
            5 => drop(body.splice(at..at, [rng.u8(..), rng.u8(..)])),
            6 if bodies.len() > 1 => drop(bodies.remove(index)),
            _ => {
                let copy = bodies[index].clone();
                bodies.insert(rng.usize(0..=bodies.len()), copy);
            }
        }
    }
}

/// Replays what anybody may have written.
fn check(file: &[u8]) -> &'static str {
    let room_types = room_types();
    let mut replay = match Replay::open(file, &room_types) {
        Ok(replay) => replay,
        Err(error) => {
            assert_says(&error.to_string());
            return "refused";
        }
    };
    let verdict = replay.run(None);
    let ticks_max = file.len() as u32 * CHECKPOINT_TICKS;
    assert!(replay.done().ticks <= ticks_max, "{:?} of {} bytes", replay.done(), file.len());
    let panicked = replay.room().panicked();
    assert!(panicked.is_none(), "the logic was told something impossible: {panicked:?}");
    replay.room().check_invariants();
    match verdict {
        Ok(verdict) => {
            assert_says(&verdict.to_string());
            match verdict {
                Verdict::Astray(Astray::Hash { .. }) => "another state",
                Verdict::Astray(Astray::Fate { .. }) => "another end",
                Verdict::Astray(Astray::Impossible { .. }) => "impossible",
                Verdict::AtEnd(_) | Verdict::Until => "nothing noticed",
            }
        }
        Err(error) => {
            assert_says(&error.to_string());
            "damaged"
        }
    }
}

/// The sweep was wide enough to mean something.
fn assert_saw(counts: &BTreeMap<&str, u32>, kinds: &[&str]) {
    println!("{counts:?}");
    let is_sweep = env::var("MANGLED_SEED").is_err();
    assert!(!is_sweep || kinds.iter().all(|kind| counts.contains_key(kind)), "{counts:?}");
}

/// One line for a person.
fn assert_says(text: &str) {
    assert!(text.len() > 10 && !text.contains('\n'), "{text:?}");
}

#[test]
fn whatever_is_changed_in_a_recording_its_replay_ends_and_says_how() {
    let files = ROOM_TYPES.map(|room_type| {
        let file = Stage::new(&room_types(), room_type, 3).recorded().run(130).end();
        assert_eq!(check(&sealed(&bodies(&file))), "nothing noticed", "{room_type}");
        file
    });
    let mut counts = BTreeMap::new();
    for_each_seed(200, |seed, rng| {
        let file = &files[seed as usize % files.len()];
        let mut bodies = bodies(file);
        mangle(rng, &mut bodies);
        *counts.entry(check(&sealed(&bodies))).or_insert(0) += 1;
        let mut cut = sealed(&bodies);
        cut.truncate(rng.usize(MAGIC.len()..cut.len()));
        check(&cut);
    });
    assert_saw(&counts, &["refused", "damaged", "another state"]);
}

/// Kinds of nonsense.
const KINDS: u8 = 14;

/// An event as no server lets it happen: of a member that is not there, of a spectator, of one more
/// than there are seats.
fn push_nonsense(rng: &mut Rng, kind: u8, recorder: &mut Recorder, row_bytes: usize) {
    let member = MemberId(if rng.u8(0..8) == 0 { rng.u16(..) } else { rng.u16(0..20) });
    let bytes: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
    let (mut buffer, two) = (Vec::new(), [member, MemberId(1)]);
    let (options, body) = (&bytes[..bytes.len() / 2], &bytes[..]);
    let event = match kind {
        0..3 => Event::Join { name: "a\u{202e}b\0", options },
        3 => Event::Spectate { name: "", options },
        4 => Event::Leave(member),
        5 => Event::Drop(member),
        6 => Event::Return(member),
        7 => Event::PassOver(member),
        8 => Event::Saw { member, seen: Moment(rng.u64(..)) },
        9 => {
            let byte_max = if rng.u8(0..64) == 0 { u8::MAX } else { 0 };
            let row: Vec<u8> = (0..row_bytes).map(|_| rng.u8(..=byte_max)).collect();
            let seq = InputSeq(rng.u32(..));
            return recorder.push(&Event::Input { member, seq, row: &row });
        }
        10 => {
            let to = if rng.bool() { &two[..] } else { &[] };
            let to = Recipients::put(to, &mut buffer);
            Event::Publish { member, topic: TopicId(rng.u16(0..3)), to, body }
        }
        11 => {
            let if_tick = Tick(rng.u32(0..200));
            let changes: &[u8] = if rng.bool() { body } else { &[0, 1, 3, 0, 0, 0] };
            Event::Write { member, if_tick, changes }
        }
        12 => {
            let metadata = rng.bool().then_some(body);
            let (op, password, locked) = (OpId::NONE, Some("a"), Some(rng.bool()));
            let configure = Configure { op, locked, listed: None, password, metadata };
            Event::Configure { member, configure }
        }
        _ => Event::Kick { member, kicked: MemberId(rng.u16(0..20)), message: "" },
    };
    recorder.push(&event);
}

#[test]
fn nonsense_that_is_well_formed_harms_no_room() {
    let headers = ROOM_TYPES.map(|room_type| {
        let file = Stage::new(&room_types(), room_type, 3).recorded().end();
        let header: Header = Reader::open(&file).expect("a recording").header().clone();
        header
    });
    let mut counts = BTreeMap::new();
    for_each_seed(400, |seed, rng| {
        let header = &headers[seed as usize % headers.len()];
        let mut recorder = Recorder::new(header);
        let (favourite, row_bytes) = (rng.u8(0..KINDS), header.input_row_bytes);
        for _ in 0..rng.usize(0..60) {
            for _ in 0..rng.usize(0..20) {
                let kind = if rng.bool() { favourite } else { rng.u8(0..KINDS) };
                push_nonsense(rng, kind, &mut recorder, row_bytes);
            }
            recorder.end_tick(0);
        }
        recorder.end(EndReason::Empty);
        let mut file = prologue(7);
        file.extend(recorder.take());
        *counts.entry(check(&file)).or_insert(0) += 1;
    });
    assert_saw(&counts, &["impossible", "another end", "nothing noticed"]);
}

#[test]
fn inputs_outside_of_their_ranges_do_not_reach_the_logic() {
    struct Switch;
    impl RoomLogic for Switch {
        fn on_input(&mut self, _: &mut Context<'_>, _: MemberId, row: &[u8], _: Freshness) {
            assert!(row[0] <= 1, "a switch is on or off: {row:?}");
        }
    }
    let schema = RoomSchema::new(vec![], vec![FieldDesc::new("on", FieldType::Bool)]);
    let spec = RoomSpec::at_rate(20, schema.expect("a schema"));
    let room_types = RoomTypes::default().with(room_type("switch", spec, || Switch));
    let file = Stage::new(&room_types, "switch", 3).recorded().end();
    let header = Reader::open(&file).expect("a recording").header().clone();
    for (value, is_possible) in [(1, true), (2, false)] {
        let mut recorder = Recorder::new(&header);
        recorder.push(&Event::Join { name: "", options: &[] });
        let (member, seq) = (MemberId(1), InputSeq(1));
        recorder.push(&Event::Input { member, seq, row: &[value] });
        recorder.end_tick(0);
        recorder.end_tick(50);
        recorder.end(EndReason::Oversized);
        let mut file = prologue(7);
        file.extend(recorder.take());
        let mut replay = Replay::open(&file, &room_types).expect("a recording");
        let verdict = replay.run(None).expect("a whole one");
        let is_end = matches!(verdict, Verdict::AtEnd(_));
        let is_impossible = matches!(verdict, Verdict::Astray(Astray::Impossible { .. }));
        assert_eq!((is_end, is_impossible), (is_possible, !is_possible), "{value}: {verdict:?}");
    }
}
