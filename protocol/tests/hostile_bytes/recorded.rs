//! Recordings: a file comes from a disk, or from somebody who reports a fault.

use tickloom_protocol::chunks::{self, put_bytes, put_varint};
use tickloom_protocol::client_message::{Configure, Recipients};
use tickloom_protocol::ids::{InputSeq, MemberId, Moment, OpId, RoomKey, Tick, TopicId};
use tickloom_protocol::limits;
use tickloom_protocol::recording::{
    CHECKPOINT_TICKS, EndReason, Entry, Event, Header, Reader, Recorder, StateHash, Tail, prologue,
};

/// What every record here has beside its body: a length and a checksum.
const RECORD_BYTES_MIN: usize = 1 + 4;

/// A recording. The first byte says whether the rest is a file as it is, or the bodies of its
/// records, each behind its length in two bytes: their checksums are right then, so that what they
/// say is looked at.
pub fn recording(bytes: &[u8]) {
    match bytes {
        [] => {}
        [how, file @ ..] if how & 1 == 0 => check(file),
        [_, bodies @ ..] => check(&sealed(bodies)),
    }
}

fn check(file: &[u8]) {
    let Ok(mut reader) = Reader::open(file) else { return };
    let header = reader.header().clone();
    assert!(header.input_row_bytes <= limits::INPUT_ROW_BYTES_MAX);
    for name in [&header.room.room_type, &header.room.room, &header.server] {
        assert!(name.len() <= limits::NAME_BYTES_MAX, "{name:?}");
        assert!(!name.contains(char::is_control), "{name:?} would be printed");
    }
    let (mut last, mut entries) = (Tick::ZERO, Vec::new());
    let is_whole = loop {
        let entry = match reader.next() {
            Ok(Some(entry)) => entry,
            end => break end.is_ok(),
        };
        let tick = tick_of(&entry);
        assert!(tick >= last && tick <= Tick::MAX, "{tick} behind {last}");
        last = tick;
        entries.push(entry);
        if let Entry::Event(at, event) = entry {
            assert!(at.ms.checked_mul(2_000).is_some(), "{at:?} is no number of microseconds");
            assert_within_limits(&event, header.input_row_bytes);
        }
    };
    assert!(entries.len() < file.len(), "every entry has a byte of its own");
    let ticks_max = file.len() / RECORD_BYTES_MIN * (CHECKPOINT_TICKS as usize + 1);
    assert!(last.0 as usize <= ticks_max, "{last} in {} bytes", file.len());
    if is_whole {
        assert!(matches!(reader.next(), Ok(None)), "the end stays the end");
        let has_end = matches!(entries.last(), Some(Entry::End(..)));
        assert_eq!(reader.tail() == Tail::Ended, has_end);
    }
    assert_is_recorded_again(&header, &entries);
}

fn tick_of(entry: &Entry<'_>) -> Tick {
    match *entry {
        Entry::Event(at, _) => at.tick,
        Entry::Checkpoint(tick, _) | Entry::End(tick, _) => tick,
    }
}

/// What a replay may rely on without looking again.
fn assert_within_limits(event: &Event<'_>, row_bytes: usize) {
    match *event {
        Event::Join { name, options } | Event::Spectate { name, options } => {
            assert!(name.len() <= limits::NAME_BYTES_MAX);
            assert!(options.len() <= limits::JOIN_OPTIONS_BYTES_MAX);
        }
        Event::Configure { configure, .. } => {
            assert!(configure.metadata.unwrap_or_default().len() <= limits::METADATA_BYTES_MAX);
        }
        Event::Kick { message, .. } => assert!(message.len() <= limits::CLOSE_REASON_BYTES_MAX),
        Event::Input { row, .. } => assert_eq!(row.len(), row_bytes),
        Event::Publish { to, body, .. } => {
            assert!(to.iter().len() <= limits::RECIPIENTS_MAX);
            assert!(body.len() <= limits::EVENT_BYTES_MAX);
        }
        Event::Write { .. }
        | Event::Leave(_)
        | Event::Saw { .. }
        | Event::Drop(_)
        | Event::Return(_)
        | Event::PassOver(_) => {}
    }
}

/// Whatever a recording says, a recorder can be told, and then it says the same. But for the moment
/// of an event: the first records of a tick that needs several have the one of the tick before.
fn assert_is_recorded_again(header: &Header, entries: &[Entry<'_>]) {
    let mut recorder = Recorder::new(header);
    let mut building = Tick::ZERO.next();
    for entry in entries {
        let goal = match entry {
            Entry::Checkpoint(tick, _) => tick.next(),
            entry => tick_of(entry),
        };
        assert!(building <= goal, "{entry:?}, but tick {building} is under construction");
        while building < goal {
            recorder.end_tick(u64::from(building.0));
            building = building.next();
        }
        match entry {
            Entry::Event(_, event) => recorder.push(event),
            Entry::Checkpoint(_, hash) => recorder.put_checkpoint(*hash),
            Entry::End(_, reason) => recorder.end(*reason),
        }
    }
    let mut file = prologue(0);
    file.extend(recorder.take());
    let mut reader = Reader::open(&file).expect("it has just been written");
    assert_eq!(reader.header(), header);
    for entry in entries {
        let again = reader.next().expect("whole records").expect("as many entries");
        assert_eq!(tick_of(&again), tick_of(entry), "{entry:?}");
        match (again, entry) {
            (Entry::Event(_, again), Entry::Event(_, event)) => assert_eq!(&again, event),
            (again, entry) => assert_eq!(&again, entry),
        }
    }
    assert_eq!(reader.next(), Ok(None));
}

/// A file of records with these bodies, put there by [`put_body`].
fn sealed(mut bodies: &[u8]) -> Vec<u8> {
    let mut file = prologue(7);
    while let [low, high, rest @ ..] = bodies {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, following) = rest.split_at(length);
        bodies = following;
        put_bytes(&mut file, body);
        file.extend(crc32fast::hash(body).to_le_bytes());
    }
    file
}

fn put_body(body: &[u8], bodies: &mut Vec<u8>) {
    bodies.extend_from_slice(&(body.len() as u16).to_le_bytes());
    bodies.extend_from_slice(body);
}

/// The bodies of all records behind a prologue.
fn bodies(records: &[u8]) -> Vec<&[u8]> {
    let (mut reader, mut bodies) = (chunks::Reader::new(records), Vec::new());
    while !reader.is_empty() {
        bodies.push(reader.sized().expect("a whole body"));
        reader.u32().expect("its checksum");
    }
    bodies
}

fn header() -> Header {
    Header {
        server: "1.2.3".into(),
        room: RoomKey::parse("tag", "a room").expect("a name"),
        seed: 7,
        options: [1, 2, 3].into(),
        metadata: [1, b'k', 2, 0].into(),
        tick_rate_hz: 30,
        spec_hash: 0xdead_beef,
        input_row_bytes: 3,
    }
}

/// Every kind of event, a checkpoint and an end.
fn recorded() -> Vec<u8> {
    let (one, two) = (MemberId(1), MemberId(2));
    let mut recorder = Recorder::new(&header());
    let mut buffer = Vec::new();
    let to = Recipients::put(&[one, two], &mut buffer);
    let (locked, listed) = (Some(true), Some(false));
    let (password, metadata) = (Some("sesame"), Some(&[1, b'k', 2, 0][..]));
    let configure = Configure { op: OpId::NONE, locked, listed, password, metadata };
    let input = |seq, row: &'static [u8]| Event::Input { member: one, seq: InputSeq(seq), row };
    let events = [
        Event::Join { name: "Zoë", options: &[1, 2] },
        Event::Spectate { name: "", options: &[] },
        Event::Configure { member: one, configure },
        Event::Saw { member: one, seen: Moment(300) },
        input(1, &[1, 2, 3]),
        input(2, &[1, 2, 3]),
        input(3, &[4, 5, 6]),
        input(9, &[4, 5, 6]),
        Event::Write { member: one, if_tick: Tick(1), changes: &[0, 0, 0] },
        Event::Publish { member: one, topic: TopicId(1), to, body: b"hello" },
        Event::Drop(one),
        Event::Return(one),
        input(1, &[7, 8, 9]),
        Event::PassOver(two),
        Event::Kick { member: one, kicked: two, message: "bye" },
        Event::Leave(one),
    ];
    for (index, event) in (0..).zip(&events) {
        recorder.push(event);
        if index % 3 == 2 {
            recorder.end_tick(index * 10);
        }
    }
    for _ in 0..CHECKPOINT_TICKS {
        recorder.end_tick(1_000);
    }
    recorder.put_checkpoint(StateHash { shown: 1, hidden: 2 });
    recorder.end(EndReason::Empty);
    recorder.take()
}

/// Files as they are, and the same in bodies; what asks for more than its bytes are worth.
pub fn recordings() -> Vec<Vec<u8>> {
    let records = recorded();
    let mut file = vec![0];
    file.extend(prologue(7));
    file.extend(&records);
    let all = bodies(&records);
    let of = |some: &[&[u8]]| {
        let mut run = vec![1];
        some.iter().for_each(|body| put_body(body, &mut run));
        run
    };
    let (header, rest) = all.split_first().expect("a header");
    let mut recordings = vec![file, of(&all), of(&[header])];
    recordings.extend(rest.iter().map(|body| of(&[header, body])));
    let crafted: [&[u8]; 6] = [
        // A member that holds what it never pressed.
        &[2, 1, 0, 1 << 3],
        // The last tick there can be, and more than a recorder lets pass.
        &[3, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0],
        // Time that runs over.
        &[2, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        // A name of 4 GiB, an event of a kind that there is not, a reason that there is not.
        &[2, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[2, 1, 0, 7, 9],
        &[4, 1, 9],
    ];
    recordings.extend(crafted.map(|body| of(&[header, body])));
    let mut many = vec![2, 1, 0];
    for member in 0..2_000 {
        put_varint(&mut many, member << 3 | 1);
        many.extend([1, 2, 3]);
    }
    recordings.push(of(&[header, &many]));
    recordings
}
