use super::*;
use crate::chunks::{ChunkKind, put_chunk, put_event, put_varint64};
use crate::handshake::Head;
use crate::ids::StreamId;
use crate::link::put_binary_header;
use crate::schema::{RoomSchema, TopicDesc};
use crate::server_message::{Left, ServerEncoder};
use crate::time::Timestamp;

fn frame(message: &ServerMessage<'_>) -> Vec<u8> {
    let payload = ServerEncoder::default().encode(message).to_vec();
    let mut frame = Vec::new();
    put_binary_header(payload.len(), &mut frame);
    [frame, payload].concat()
}

#[test]
fn the_seat_stays_readable_after_the_end_but_not_after_left() {
    let joined = ServerMessage::Joined(Joined::new(
        MemberId(7),
        EntityId(1),
        RoomClock { epoch: Timestamp(1), tick_us: 50_000, send_every: 1 },
        Tick(3),
        RoomSchema::new(vec![], vec![]).expect("schema"),
    ));
    let mut close = Vec::new();
    Link::new(End::Server).close(&CloseReason::RESTART, &mut close);
    for (name, last, seated) in
        [("a close", close, true), ("Left", frame(&ServerMessage::Left(Left::default())), false)]
    {
        let mut client = Client::connect("a", "/ws", [7; 16]);
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&client.take_output()) else {
            panic!("an upgrade")
        };
        client.handle_bytes(&[upgrade.response(), frame(&joined), last].concat());
        assert_eq!(client.seat().map(|seat| seat.member.0), seated.then_some(7), "{name}");
    }
}

/// A client that is upgraded, asked for room `a` and got these messages.
fn given(mut client: Client, messages: &[ServerMessage<'_>]) -> Client {
    let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&client.take_output()) else {
        panic!("an upgrade")
    };
    client.handle_bytes(&upgrade.response());
    if client.returning.is_none() {
        client.join(Join { room_type: "t", room: "a", name: "ann", ..Join::default() });
    }
    messages.iter().for_each(|message| client.handle_bytes(&frame(message)));
    client
}

#[test]
fn a_client_that_comes_back_goes_on_where_another_was_if_the_seat_is_the_same() {
    let clock = RoomClock { epoch: Timestamp(1), tick_us: 0, send_every: 1 };
    let schema = RoomSchema::new(vec![], vec![])
        .and_then(|schema| schema.with_topics(vec![TopicDesc::new("chat")]))
        .expect("schema");
    let joined = |member, token: &[u8]| Joined {
        token: token.into(),
        grace_ms: 1_000,
        ..Joined::new(MemberId(member), EntityId(1), clock, Tick(3), schema.clone())
    };
    let (mut body, mut chunks) = (Vec::new(), Vec::new());
    put_varint64(&mut body, 40);
    put_event(&mut body, TopicId(0), MemberId(3), b"hello");
    body.push(0);
    put_chunk(&mut chunks, StreamId::ROOM, ChunkKind::Events, &body);
    let delta = |base, tick| {
        let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
        ServerMessage::Delta(Delta { head, chunks: &chunks })
    };
    let connect = || Client::connect("a", "/ws", [7; 16]);
    let first = || {
        let joined = ServerMessage::Joined(joined(7, b"one"));
        given(connect(), &[joined, delta(0, 4)])
    };
    let ticket = first().ticket().expect("a ticket");
    assert_eq!((ticket.tick, ticket.events_from, ticket.private_from), (Tick(4), 41, 1));
    assert_eq!((&*ticket.room, &*ticket.name, &*ticket.token), ("a", "ann", &b"one"[..]));
    for (member, with_replica, expected) in [
        (7, true, (true, Tick(4), 41)),
        // Loaded again: it waits for a snapshot and knows what it has heard.
        (7, false, (true, Tick::ZERO, 41)),
        // Another seat, though the server tried: everything begins anew.
        (8, true, (false, Tick::ZERO, 1)),
    ] {
        let returning = first().part().expect("a seat");
        let returning = if with_replica { returning } else { Returning::from(returning.ticket) };
        let mut second = connect();
        second.returning = Some(Box::new(returning));
        let second = given(second, &[ServerMessage::Joined(joined(member, b"two"))]);
        let seat = second.seat().expect("a seat");
        let heard = seat.replica.heard().expected().0;
        assert_eq!((seat.is_resumed, seat.replica.tick(), heard), expected, "{member}");
    }
    let mut none = given(connect(), &[ServerMessage::Joined(joined(7, b""))]);
    assert!(none.ticket().is_none() && none.part().is_none(), "the server keeps no seat");
}

#[test]
fn what_is_said_with_each_delta_can_be_heard_even_when_they_come_together() {
    let clock = RoomClock { epoch: Timestamp(1), tick_us: 0, send_every: 1 };
    let schema = RoomSchema::new(vec![], vec![])
        .and_then(|schema| schema.with_topics(vec![TopicDesc::new("chat")]));
    let joined = ServerMessage::Joined(Joined::new(
        MemberId(7),
        EntityId(1),
        clock,
        Tick(3),
        schema.expect("schema"),
    ));
    let delta = |base, tick, text: &str| {
        let (mut body, mut chunks) = (Vec::new(), Vec::new());
        put_varint64(&mut body, u64::from(tick));
        put_event(&mut body, TopicId(0), MemberId(3), text.as_bytes());
        body.push(0);
        put_chunk(&mut chunks, StreamId::ROOM, ChunkKind::Events, &body);
        let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
        frame(&ServerMessage::Delta(Delta { head, chunks: &chunks }))
    };
    let mut client = Client::connect("a", "/ws", [7; 16]);
    let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&client.take_output()) else {
        panic!("an upgrade")
    };
    client.handle_bytes(&upgrade.response());
    let bytes = [frame(&joined), delta(0, 4, "one"), delta(4, 5, "two")].concat();
    for piece in [bytes.len(), 1] {
        let mut heard = Vec::new();
        for mut input in bytes.chunks(piece) {
            let mut has_more = true;
            while has_more {
                has_more = client.handle_next(&mut input);
                while let Some(event) = client.poll_event() {
                    if let (ClientEvent::Applied { .. }, Some(seat)) = (event, client.seat()) {
                        let events = seat.replica.heard().iter();
                        heard.extend(events.map(|event| event.body.to_vec()));
                    }
                }
            }
            assert!(input.is_empty(), "everything is taken in");
        }
        assert_eq!(heard, [b"one", b"two"], "in pieces of {piece}");
    }
}
