use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ids::OpId;
use crate::limits;

const ROW_BYTES: usize = 3;

fn header() -> Header {
    Header {
        server: "1.2.3".into(),
        room: RoomKey::parse("tag", "a room").expect("a name"),
        seed: u64::MAX - 1,
        options: [1, 2, 3].into(),
        metadata: [4].into(),
        tick_rate_hz: 30,
        spec_hash: 0xdead_beef,
        input_row_bytes: ROW_BYTES,
    }
}

/// What goes into a recorder.
#[derive(Clone, Debug)]
enum Step {
    Join(String, Vec<u8>),
    Leave(u16),
    Saw(u16, u64),
    Drop(u16),
    Return(u16),
    PassOver(u16),
    Input(u16, u32, [u8; ROW_BYTES]),
    Write(u16, u32, Vec<u8>),
    Publish(u16, u16, Vec<MemberId>, Vec<u8>),
    Spectate(String, Vec<u8>),
    Configure(u16, [Option<bool>; 3], Option<Vec<u8>>),
    Kick(u16, u16, String),
    Tick(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = || prop_oneof![4 => 1_u16..4, 1 => any::<u16>()];
    let bytes = || vec(any::<u8>(), 0..40);
    let seq = prop_oneof![8 => 1_u32..9, 1 => any::<u32>()];
    let row = prop_oneof![Just([7; ROW_BYTES]), any::<[u8; ROW_BYTES]>()];
    let to = vec(any::<u16>().prop_map(MemberId), 0..4);
    let step = prop_oneof![
        1 => ("[a-z\u{e9}]{0,20}", bytes()).prop_map(|(name, options)| Step::Join(name, options)),
        1 => member().prop_map(Step::Leave),
        1 => member().prop_map(Step::Drop),
        1 => member().prop_map(Step::Return),
        1 => member().prop_map(Step::PassOver),
        8 => (member(), seq, row).prop_map(|(id, seq, row)| Step::Input(id, seq, row)),
        1 => (member(), any::<u32>(), bytes()).prop_map(|(id, tick, bytes)| {
            Step::Write(id, tick, bytes)
        }),
        1 => (member(), any::<u16>(), to, bytes()).prop_map(|(id, topic, to, bytes)| {
            Step::Publish(id, topic, to, bytes)
        }),
        1 => ("[a-z]{0,20}", bytes()).prop_map(|(name, options)| Step::Spectate(name, options)),
        1 => (member(), any::<[Option<bool>; 3]>(), prop::option::of(bytes()))
            .prop_map(|(id, flags, metadata)| Step::Configure(id, flags, metadata)),
        1 => (member(), any::<u16>(), ".{0,9}").prop_map(|(id, kicked, why)| {
            Step::Kick(id, kicked, why)
        }),
        2 => (member(), any::<u64>()).prop_map(|(id, seen)| Step::Saw(id, seen)),
        4 => any::<u16>().prop_map(Step::Tick),
    ];
    vec(step, 0..200)
}

/// What a reader must say of these steps, as text: entries borrow.
fn play(steps: &[Step]) -> (Vec<u8>, Vec<String>) {
    let mut recorder = Recorder::new(&header());
    let mut now = LoggedAt { tick: Tick(1), ms: 0 };
    // Events of the tick under construction, whose moment is known when it ends.
    let (mut said, mut waiting) = (Vec::new(), Vec::new());
    for step in steps {
        let mut buffer = Vec::new();
        let event = match step {
            Step::Join(name, options) => Event::Join { name, options },
            Step::Leave(member) => Event::Leave(MemberId(*member)),
            Step::Drop(member) => Event::Drop(MemberId(*member)),
            Step::Return(member) => Event::Return(MemberId(*member)),
            Step::PassOver(member) => Event::PassOver(MemberId(*member)),
            Step::Input(member, seq, row) => {
                Event::Input { member: MemberId(*member), seq: InputSeq(*seq), row }
            }
            Step::Write(member, if_tick, changes) => {
                Event::Write { member: MemberId(*member), if_tick: Tick(*if_tick), changes }
            }
            Step::Publish(member, topic, to, body) => Event::Publish {
                member: MemberId(*member),
                topic: TopicId(*topic),
                to: Recipients::put(to, &mut buffer),
                body,
            },
            Step::Saw(member, seen) => {
                Event::Saw { member: MemberId(*member), seen: crate::ids::Moment(*seen) }
            }
            Step::Spectate(name, options) => Event::Spectate { name, options },
            Step::Configure(member, [locked, listed, password], metadata) => Event::Configure {
                member: MemberId(*member),
                configure: Configure {
                    op: OpId::NONE,
                    locked: *locked,
                    listed: *listed,
                    // Which one nobody learns from a recording.
                    password: password.map(|is_some| if is_some { HIDDEN } else { "" }),
                    metadata: metadata.as_deref(),
                },
            },
            Step::Kick(member, kicked, message) => {
                Event::Kick { member: MemberId(*member), kicked: MemberId(*kicked), message }
            }
            Step::Tick(ms) => {
                now.ms += u64::from(*ms);
                recorder.end_tick(now.ms);
                said.extend(waiting.drain(..).map(|event| format!("{now:?} {event}")));
                if now.tick.0.is_multiple_of(CHECKPOINT_TICKS) {
                    let hash = StateHash { shown: now.tick.0, hidden: 7 };
                    recorder.put_checkpoint(hash);
                    said.push(format!("{:?} {hash:?}", now.tick));
                }
                now.tick = now.tick.next();
                continue;
            }
        };
        recorder.push(&event);
        waiting.push(format!("{event:?}"));
    }
    recorder.end(EndReason::Closed);
    said.extend(waiting.drain(..).map(|event| format!("{now:?} {event}")));
    said.push(format!("{:?} {:?}", now.tick, EndReason::Closed));
    let mut file = prologue(1_234);
    file.extend(recorder.take());
    (file, said)
}

fn read(file: &[u8]) -> Result<(Vec<String>, Tail), RecordingError> {
    let mut reader = Reader::open(file)?;
    let mut said = Vec::new();
    while let Some(entry) = reader.next()? {
        said.push(match entry {
            Entry::Event(moment, event) => format!("{moment:?} {event:?}"),
            Entry::Checkpoint(tick, hash) => format!("{tick:?} {hash:?}"),
            Entry::End(tick, reason) => format!("{tick:?} {reason:?}"),
        });
    }
    Ok((said, reader.tail()))
}

proptest! {
    #[test]
    fn what_was_recorded_is_read_again(steps in steps()) {
        let (file, said) = play(&steps);
        let reader = Reader::open(&file).expect("a recording");
        prop_assert_eq!((reader.unix_ms(), reader.header()), (1_234, &header()));
        prop_assert_eq!(read(&file), Ok((said, Tail::Ended)));
    }

    /// Whatever is not what was written is an error or a cut, and what is read before it is right.
    #[test]
    fn damage_is_noticed_where_it_is(steps in steps(), at in any::<u32>(), bit in 0_u8..8) {
        let (mut file, said) = play(&steps);
        let at = at as usize % file.len();
        file[at] ^= 1 << bit;
        match read(&file) {
            Err(RecordingError::Damaged { offset, .. }) => prop_assert!(offset <= at),
            Err(_) => {}
            Ok((read, tail)) => {
                prop_assert!(matches!(tail, Tail::Cut(_)), "{tail:?}");
                prop_assert_eq!(&said[..read.len()], &read[..]);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300), kind in 1_u8..5) {
        let mut file = prologue(0);
        let mut recorder = Recorder::new(&header());
        file.extend(recorder.take());
        // Their checksum is right, so that they are looked at.
        put_record(&mut file, &[kind], &bytes);
        let _ = read(&file);
        let _ = read(&bytes);
    }
}

#[test]
fn a_held_key_costs_a_byte_and_another_one_its_row() {
    let mut recorder = Recorder::new(&header());
    let _ = recorder.take();
    let mut cost = |member: u16, seq: u32, row: &[u8; ROW_BYTES]| {
        let before = recorder.events.len();
        recorder.push(&Event::Input { member: MemberId(member), seq: InputSeq(seq), row });
        recorder.events.len() - before
    };
    for (member, seq, row, bytes) in [
        (1, 1, [7; 3], 1 + 3),
        (1, 2, [7; 3], 1),
        (15, 1, [7; 3], 1 + 3),
        (1, 3, [8; 3], 1 + 3),
        (1, 5, [8; 3], 1 + 1 + 3),
        (16, 1, [7; 3], 2 + 3),
    ] {
        assert_eq!(cost(member, seq, &row), bytes, "{member} {seq} {row:?}");
    }
}

/// A room panicked in the tick of a checkpoint: the tick had ended, and its hash was never taken.
/// The end stands a tick further on than any checkpoint does.
#[test]
fn a_room_that_fails_before_its_checkpoint_is_read_to_its_end() {
    let mut recorder = Recorder::new(&header());
    for round in 0..2 {
        for _ in 0..CHECKPOINT_TICKS {
            recorder.end_tick(0);
        }
        if round == 0 {
            recorder.put_checkpoint(StateHash { shown: 1, hidden: 2 });
        }
    }
    recorder.end(EndReason::Closed);
    let mut file = prologue(0);
    file.extend(recorder.take());
    let (said, tail) = read(&file).expect("what a recorder wrote");
    assert_eq!(said.last(), Some(&format!("{:?} {:?}", Tick(121), EndReason::Closed)));
    assert_eq!((said.len(), tail), (2, Tail::Ended));
}

#[test]
fn what_no_recorder_writes_is_damage() {
    let header_bytes = {
        let mut file = prologue(0);
        file.extend(Recorder::new(&header()).take());
        file
    };
    // Behind their head, which is that of the record's kind.
    let long = |head: &[u8], bytes_max: usize| {
        let mut event = head.to_vec();
        put_bytes(&mut event, &vec![b'x'; bytes_max + 1]);
        [&[EVENTS, 1, 0], &event[..]].concat()
    };
    let joins: &[u8] = &[JOIN as u8, 0];
    for (what, records, expected) in [
        (
            "few bytes that ask for a year of ticks",
            vec![vec![CHECKPOINT, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0]],
            Damage::Time,
        ),
        ("something before the first tick", vec![vec![EVENTS, 0, 0, LEAVE as u8]], Damage::Time),
        (
            "something in a tick that a hash is of",
            vec![vec![CHECKPOINT, 60, 0, 0, 0, 0, 0, 0, 0, 0], vec![EVENTS, 0, 0, LEAVE as u8]],
            Damage::Time,
        ),
        (
            "a time that no clock of microseconds shows",
            vec![vec![EVENTS, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, LEAVE as u8]],
            Damage::Time,
        ),
        ("long options", vec![long(joins, limits::JOIN_OPTIONS_BYTES_MAX)], Damage::Length),
        ("a long name", vec![long(&joins[..1], limits::NAME_BYTES_MAX)], Damage::Length),
        (
            "more recipients than there may be",
            vec![long(&[PUBLISH as u8, 0], 2 * limits::RECIPIENTS_MAX)],
            Damage::Length,
        ),
        (
            "a long publication",
            vec![long(&[PUBLISH as u8, 0, 0], limits::EVENT_BYTES_MAX)],
            Damage::Length,
        ),
        (
            "long properties",
            vec![long(&[OTHER as u8, CONFIGURE, METADATA], limits::METADATA_BYTES_MAX)],
            Damage::Length,
        ),
        (
            "a long farewell",
            vec![long(&[OTHER as u8, KICK, 1], limits::CLOSE_REASON_BYTES_MAX)],
            Damage::Length,
        ),
    ] {
        let mut file = header_bytes.clone();
        let mut offset = 0;
        for record in records {
            offset = file.len();
            put_record(&mut file, &record, &[]);
        }
        let error = RecordingError::Damaged { offset, what: expected };
        assert_eq!(read(&file), Err(error), "{what}");
    }
}

#[test]
fn a_version_that_disturbs_a_terminal_is_damage() {
    let header = Header { server: "1.2.3\x1b[2J".into(), ..header() };
    let mut file = prologue(0);
    let offset = file.len();
    file.extend(Recorder::new(&header).take());
    let error = RecordingError::Damaged { offset, what: Damage::Name };
    assert_eq!(read(&file), Err(error));
}
