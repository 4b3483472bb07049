//! Envelopes of both directions.

use flatbuffers::FlatBufferBuilder;
use tickloom_protocol::client_message::{
    ClientEncoder, ClientMessage, Configure, Input, Interest, Join, JoinMode, Kick, Publish,
    Recipients, Report, Resume, ResyncReason, Write,
};
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::{EntityId, InputSeq, MemberId, Moment, OpId, Tick};
use tickloom_protocol::server_message::{
    Accepted, Delta, DeltaHead, Joined, LeaveReason, Left, RefusalCode, Refused, RoomClock,
    ServerEncoder, ServerMessage, TimeSync,
};
use tickloom_protocol::time::Timestamp;

use crate::board::{self, CHAT, LOG};
use crate::files::golden;
use crate::room::{MEMBER, schema};

#[test]
fn messages_of_a_client_are_frozen() {
    let resync = |reason| ClientMessage::Resync { have_tick: Tick(41), reason };
    let (changes, mut buffer) = (board::changes(), Vec::new());
    let (everybody, op) = (Recipients::default(), OpId(6));
    let some = Recipients::put(&[MemberId(9), MemberId(300)], &mut buffer);
    let rows = [
        (
            "client-join.bin",
            ClientMessage::Join(Join {
                room_type: "arena",
                room: "комната",
                name: "Zoë",
                options: &[0, 1, 255],
                ..Join::default()
            }),
        ),
        ("client-leave.bin", ClientMessage::Leave),
        (
            "client-input.bin",
            ClientMessage::Input(Input {
                seq: InputSeq(1001),
                applied_tick: Tick(42),
                seen: Moment::ZERO,
                row: &[0b101, 0x34, 0x12, 0xff],
            }),
        ),
        (
            "client-input-seeing.bin",
            ClientMessage::Input(Input {
                seq: InputSeq(1001),
                applied_tick: Tick(42),
                seen: Moment(40 * 256 + 64),
                row: &[0b101, 0x34, 0x12, 0xff],
            }),
        ),
        ("client-ping.bin", ClientMessage::Ping { client_us: 1_234_567_890_123 }),
        ("client-resync-gap.bin", resync(ResyncReason::Gap)),
        ("client-resync-malformed.bin", resync(ResyncReason::Malformed)),
        ("client-resync-hash-mismatch.bin", resync(ResyncReason::HashMismatch)),
        (
            "client-write.bin",
            ClientMessage::Write(Write { op: OpId(5), if_tick: Tick(10), changes: &changes }),
        ),
        (
            "client-write-plain.bin",
            ClientMessage::Write(Write { op: OpId::NONE, if_tick: Tick::ZERO, changes: &[0, 0] }),
        ),
        (
            "client-publish.bin",
            ClientMessage::Publish(Publish { op, topic: CHAT, to: everybody, body: b"hi" }),
        ),
        (
            "client-publish-to.bin",
            ClientMessage::Publish(Publish { op, topic: LOG, to: some, body: &[0, 255] }),
        ),
        ("client-unknown.bin", ClientMessage::Unknown(200)),
    ];
    assert_frozen(&rows);
}

fn assert_frozen(rows: &[(&str, ClientMessage<'_>)]) {
    let mut encoder = ClientEncoder::default();
    for (name, message) in rows {
        let committed = golden(name, encoder.encode(*message));
        assert_eq!(ClientMessage::decode(&committed), Ok(*message), "{name}");
    }
}

#[test]
fn what_a_client_says_about_seats_is_frozen() {
    assert_frozen(&[
        (
            "client-join-private.bin",
            ClientMessage::Join(Join {
                room_type: "arena",
                mode: JoinMode::Create,
                spectate: true,
                password: "Сезам",
                seat: &[7; 32],
                metadata: &[3, b'm', b'a', b'p', 5, 1, b'x', 0],
                filter: &[0],
                ..Join::default()
            }),
        ),
        (
            "client-resume.bin",
            ClientMessage::Join(Join {
                room_type: "arena",
                room: "a",
                resume: Some(Resume {
                    member: MemberId(9),
                    token: &[0x5a; 32],
                    tick: Tick(1000),
                    events_from: 12,
                    private_from: 1,
                }),
                ..Join::default()
            }),
        ),
        (
            "client-configure.bin",
            ClientMessage::Configure(Configure {
                op: OpId(8),
                locked: Some(true),
                listed: None,
                password: Some(""),
                metadata: Some(&[0]),
            }),
        ),
        (
            "client-kick.bin",
            ClientMessage::Kick(Kick { op: OpId(9), member: MemberId(3), message: "no shouting" }),
        ),
        ("client-interest.bin", ClientMessage::Interest(Interest::At { x: -12.5, y: 300.25 })),
        ("client-interest-own.bin", ClientMessage::Interest(Interest::Own)),
        (
            "client-report.bin",
            ClientMessage::Report(Report { applied_tick: Tick(42), hidden: true }),
        ),
    ]);
}

#[test]
fn messages_of_a_server_are_frozen() {
    let clock = RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 2 };
    let joined = Joined::new(MEMBER, EntityId(1), clock, Tick(10), schema());
    let resumed = Joined {
        room: "K7Q2ZD".into(),
        token: [0x5a; 32].into(),
        grace_ms: 20_000,
        recovered: true,
        spectator: true,
        ..joined.clone()
    };
    let board = Joined {
        clock: RoomClock { epoch: Timestamp(1 << 40), tick_us: 0, send_every: 1 },
        schema: board::schema(),
        ..joined.clone()
    };
    let conflict = Refused {
        code: RefusalCode::Conflict,
        message: "something changed",
        retry_ms: 0,
        op: OpId(5),
    };
    let added = vec![EntityId(4), EntityId(65_535)];
    let accepted = |op, entities| Accepted { op: OpId(op), tick: Tick(11), entities };
    let sync = TimeSync {
        client_us: 1_234_567_890_123,
        server: Timestamp((1 << 40) + 525_000),
        tick: Tick(10),
        epoch: Timestamp(1 << 40),
        scale_q16: TimeSync::REAL_TIME,
    };
    let refused = Refused {
        code: RefusalCode::RoomFull,
        message: "the room is full",
        retry_ms: 2000,
        op: OpId::NONE,
    };
    assert_server_frozen(&[
        ("server-joined.bin", ServerMessage::Joined(joined)),
        ("server-joined-board.bin", ServerMessage::Joined(board)),
        ("server-accepted.bin", ServerMessage::Accepted(accepted(5, added))),
        ("server-accepted-publication.bin", ServerMessage::Accepted(accepted(6, vec![]))),
        ("server-refused-write.bin", ServerMessage::Refused(conflict)),
        ("server-go-away.bin", ServerMessage::GoAway { retry_ms: 4321 }),
        ("server-time-sync.bin", ServerMessage::TimeSync(sync)),
        ("server-clock-moved.bin", ServerMessage::TimeSync(TimeSync { client_us: 0, ..sync })),
        ("server-refused.bin", ServerMessage::Refused(refused)),
        ("server-joined-resumed.bin", ServerMessage::Joined(resumed)),
        (
            "server-time-dilated.bin",
            ServerMessage::TimeSync(TimeSync { scale_q16: TimeSync::REAL_TIME / 2, ..sync }),
        ),
        ("server-left.bin", ServerMessage::Left(Left::default())),
        (
            "server-kicked.bin",
            ServerMessage::Left(Left { reason: LeaveReason::Kicked, message: "no shouting" }),
        ),
        ("server-unknown.bin", ServerMessage::Unknown(200)),
    ]);
}

fn assert_server_frozen(rows: &[(&str, ServerMessage<'_>)]) {
    let mut encoder = ServerEncoder::default();
    for (name, message) in rows {
        let committed = golden(name, encoder.encode(message));
        assert_eq!(ServerMessage::decode(&committed).as_ref(), Ok(message), "{name}");
    }
}

#[test]
fn deltas_are_frozen() {
    let head = DeltaHead {
        tick: Tick(9),
        base: Tick(8),
        ack: InputSeq(1001),
        margin: -3,
        ..DeltaHead::default()
    };
    let pressed = DeltaHead { ack_op: OpId(77), load_level: 2, ..head };
    assert_server_frozen(&[
        ("server-delta-padded.bin", ServerMessage::Delta(Delta { head, chunks: &[0, 2, 2, 0, 0] })),
        ("server-delta-pressed.bin", ServerMessage::Delta(Delta { head: pressed, chunks: &[] })),
    ]);
    let mut bytes = Vec::new();
    DeltaPrefix::new().put(&head, 5, &mut bytes);
    bytes.extend_from_slice(&[0, 2, 2, 0, 0]);
    let committed = golden("server-delta.bin", &bytes);
    let message = ServerMessage::Delta(Delta { head, chunks: &[0, 2, 2, 0, 0] });
    assert_eq!(ServerMessage::decode(&committed), Ok(message), "server-delta.bin");
}

/// A `Ping` or a `TimeSync`, whose first field is a `client_us` of 77, with a field 20 that this
/// version does not know.
fn newer_message(body_type: u8) -> Vec<u8> {
    let mut b = FlatBufferBuilder::new();
    let table = b.start_table();
    b.push_slot_always(4, 77_u64);
    b.push_slot_always(4 + 2 * 20, 0xdead_beef_u32);
    let table = b.end_table(table);
    let envelope = b.start_table();
    b.push_slot_always(6, table);
    b.push_slot_always(4, body_type);
    let envelope = b.end_table(envelope);
    b.finish_minimal(envelope);
    b.finished_data().to_vec()
}

#[test]
fn fields_of_a_newer_version_are_passed_over() {
    let committed = golden("client-newer-ping.bin", &newer_message(4));
    let ping = ClientMessage::Ping { client_us: 77 };
    assert_eq!(ClientMessage::decode(&committed), Ok(ping));
    let committed = golden("server-newer-time-sync.bin", &newer_message(3));
    let (server, tick, epoch) = (Timestamp::ZERO, Tick::ZERO, Timestamp::ZERO);
    let sync = ServerMessage::TimeSync(TimeSync {
        client_us: 77,
        server,
        tick,
        epoch,
        scale_q16: TimeSync::REAL_TIME,
    });
    assert_eq!(ServerMessage::decode(&committed), Ok(sync));
}
