use super::*;
use crate::ids::ComponentId;
use crate::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, TopicDesc, WritePolicy,
};

fn joined() -> Joined {
    let body = vec![
        FieldDesc::quantised("x", FieldType::Quant16, -512.0, 512.0),
        FieldDesc::quantised("y", FieldType::Quant16, -512.0, 512.0),
        FieldDesc::angle("yaw", FieldType::Quant8),
    ];
    let components = vec![
        ComponentDesc::packed("body", body).expect("layout").as_motion(),
        ComponentDesc::opaque("map", "application/json", 1000).for_team(),
        ComponentDesc::props("profile").for_owner().writable_by(WritePolicy::Owner),
        ComponentDesc::props("layer").as_tree().writable_by(WritePolicy::Host),
    ];
    let topics = vec![
        TopicDesc::new("chat"),
        TopicDesc { publish: WritePolicy::Host, history: true, ..TopicDesc::new("news") },
    ];
    let input = vec![FieldDesc::new("buttons", FieldType::U8)];
    let schema = RoomSchema::new(components, input).expect("schema");
    let ring = |distance, every| Ring { distance, every };
    let interest = Interest {
        component: ComponentId(0),
        axes: [FieldId(0), FieldId(1)],
        cell_size: 32.0,
        rings: vec![ring(1, 1), ring(4, 8)],
    };
    Joined {
        member: MemberId(7),
        entity: EntityId(12),
        clock: RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 2 },
        tick: Tick(3),
        schema: schema
            .with_topics(topics)
            .expect("topics")
            .with_entities_by(WritePolicy::Members)
            .with_interest(interest)
            .expect("interest"),
        room: "K7Q2ZD".into(),
        token: [7; 32].into(),
        grace_ms: 20_000,
        recovered: true,
        spectator: true,
    }
}

#[test]
fn every_message_survives() {
    let (ack, ack_op) = (InputSeq(5), OpId(6));
    let (tick, base, margin, load_level) = (Tick(9), Tick(8), -3, 4);
    let head = DeltaHead { tick, base, ack, margin, ack_op, load_level };
    let messages = [
        ServerMessage::Joined(joined()),
        ServerMessage::Delta(Delta { head, chunks: &[1, 2, 3] }),
        ServerMessage::TimeSync(TimeSync {
            client_us: 1,
            server: Timestamp(2),
            tick: Tick(3),
            epoch: Timestamp(4),
            scale_q16: TimeSync::REAL_TIME / 4,
        }),
        ServerMessage::Refused(Refused {
            code: RefusalCode::RoomFull,
            message: "full",
            retry_ms: 1000,
            op: OpId(4),
        }),
        ServerMessage::Left(Left::default()),
        ServerMessage::Left(Left { reason: LeaveReason::Kicked, message: "no shouting" }),
        ServerMessage::Accepted(Accepted {
            op: OpId(9),
            tick: Tick(7),
            entities: vec![EntityId(1), EntityId(limits::ENTITY_ID_MAX - 1)],
        }),
        ServerMessage::GoAway { retry_ms: 1234 },
        ServerMessage::Unknown(99),
    ];
    let mut encoder = ServerEncoder::default();
    for message in messages {
        let bytes = encoder.encode(&message).to_vec();
        assert_eq!(ServerMessage::decode(&bytes), Ok(message));
    }
}

#[test]
fn a_message_of_no_kind_is_malformed() {
    let mut bytes = ServerEncoder::default().encode(&ServerMessage::Unknown(200)).to_vec();
    let tag_at = bytes.iter().position(|&byte| byte == 200).expect("the tag");
    bytes[tag_at] = 0;
    assert_eq!(ServerMessage::decode(&bytes), Err(DecodeError::Malformed));
}

#[test]
fn an_answer_names_only_entities_that_a_write_can_add() {
    let answer = |entities| {
        let accepted = Accepted { op: OpId(1), tick: Tick(2), entities };
        let message = ServerMessage::Accepted(accepted);
        let bytes = ServerEncoder::default().encode(&message).to_vec();
        ServerMessage::decode(&bytes).map(|_| ())
    };
    let many = limits::SPAWNS_PER_WRITE_MAX;
    for (entities, expected) in [
        (vec![EntityId(1); many], Ok(())),
        (vec![EntityId(1); many + 1], Err(DecodeError::TooLong("entities"))),
        (vec![EntityId(limits::ENTITY_ID_MAX)], Err(DecodeError::OutOfRange("entities"))),
    ] {
        assert_eq!(answer(entities.clone()), expected, "{} entities", entities.len());
    }
}

#[test]
fn a_seat_without_a_usable_entity_or_clock_is_out_of_range() {
    let joined = joined();
    let (entity_max, clock) = (EntityId(limits::ENTITY_ID_MAX), joined.clock);
    for (field, joined) in [
        ("entity", Joined { entity: entity_max, ..joined.clone() }),
        ("entity", Joined { entity: EntityId(u32::MAX), ..joined.clone() }),
        ("clock", Joined { clock: RoomClock { send_every: 0, ..clock }, ..joined.clone() }),
    ] {
        let message = ServerMessage::Joined(joined);
        let bytes = ServerEncoder::default().encode(&message).to_vec();
        let decoded = ServerMessage::decode(&bytes);
        assert_eq!(decoded, Err(DecodeError::OutOfRange(field)), "{message:?}");
    }
}
