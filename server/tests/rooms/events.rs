//! What members say: who may, who hears it, in which order, and what those hear who come late or
//! fall behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickloom_protocol::client_message::{Publish, Recipients};
use tickloom_protocol::ids::{MemberId, OpId, RoomKey, StreamId, TopicId};
use tickloom_protocol::limits;
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::schema::{TopicDesc, WritePolicy};
use tickloom_protocol::server_message::{RefusalCode, ServerMessage};
use tickloom_protocol::time::Timestamp;
use tickloom_server::outbox::{Outbox, OutboxLimits};
use tickloom_server::room::Room;
use tickloom_server::room::broadcast::Broadcast;
use tickloom_server::room::logic::RoomSpec;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{PendingJoin, SessionId};
use tickloom_server::session_table::Outboxes;

use crate::harness::{Peer, WIDE, World};
use crate::{FLUSH, Plain, schema, spec, world};

fn topic(name: &str, publish: WritePolicy, history: bool) -> TopicDesc {
    TopicDesc { publish, history, ..TopicDesc::new(name) }
}

fn with_topics(topics: Vec<TopicDesc>) -> RoomSpec {
    spec(schema().with_topics(topics).expect("topics"))
}

fn chat(history: bool) -> RoomSpec {
    with_topics(vec![topic("chat", WritePolicy::Members, history)])
}

fn say(world: &mut World, peer: &mut Peer, text: &str) {
    peer.publish(world, "chat", &[], text.as_bytes()).expect("it goes out");
}

#[test]
fn topics_are_for_those_whom_their_policy_names() {
    let policies =
        [WritePolicy::Server, WritePolicy::Owner, WritePolicy::Members, WritePolicy::Host];
    let topics = policies.map(|policy| topic(&format!("{policy:?}"), policy, false));
    let mut world = world(with_topics(topics.to_vec()));
    let mut host = world.join("plain", "host");
    let mut guest = world.join("plain", "guest");
    for (policy, expected) in policies.into_iter().zip([
        [false, false],
        // Nobody owns a topic.
        [false, false],
        [true, true],
        [true, false],
    ]) {
        for (peer, may) in [&mut host, &mut guest].into_iter().zip(expected) {
            let name = format!("{policy:?}");
            for to in [&[][..], &[MemberId(1)]] {
                let answer = peer.publish(&mut world, &name, to, b"x").map(|_| ());
                let expected = if may { Ok(()) } else { Err(RefusalCode::NotAllowed) };
                assert_eq!(answer, expected, "{policy:?} to {to:?}");
            }
        }
    }
    let op = host.client.publish(TopicId(4), &[], b"x");
    world.turn(&mut host);
    let refused = format!("{:?}", host.events.last());
    assert!(refused.contains("Invalid") && refused.contains(&format!("{op:?}")), "{refused}");
}

#[test]
fn everybody_hears_the_same_in_the_same_order_and_the_answer_names_the_tick() {
    let mut world = world(chat(false));
    let mut peers = ["a", "b", "c"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    world.turns(&mut peers);
    let mut ticks = Vec::new();
    for round in 0..3 {
        for at in [2, 0, 1, 0] {
            let text = format!("{round} of {at}");
            let answer = peers[at].publish(&mut world, "chat", &[], text.as_bytes());
            ticks.push(answer.expect("it goes out").tick);
        }
        world.pass(FLUSH);
    }
    assert!(ticks.is_sorted() && ticks[0] != ticks[4], "{ticks:?}");
    world.turns(&mut peers);
    let members = peers.each_ref().map(Peer::member);
    let heard = peers.each_mut().map(Peer::heard);
    assert_eq!((&heard[0], &heard[1]), (&heard[1], &heard[2]));
    let said: Vec<_> = heard[0].iter().map(|event| (event.seq.0, event.from)).collect();
    let from = [2, 0, 1, 0].into_iter().cycle().map(|at| members[at]);
    assert_eq!(said, (1..=12).zip(from).collect::<Vec<_>>());
    assert_eq!(peers.each_ref().map(Peer::lost), [0; 3]);
}

#[test]
fn what_is_said_to_some_is_heard_by_them_once() {
    let mut world = world(chat(true));
    let mut peers = ["a", "b", "c"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    let [a, b, c] = peers.each_ref().map(Peer::member);
    let absent = MemberId(60_000);
    for (to, text) in [
        (&[b][..], "to b"),
        (&[b, c, b, absent, b], "to b and c"),
        (&[absent], "to nobody"),
        (&[a], "to oneself"),
    ] {
        peers[0].publish(&mut world, "chat", to, text.as_bytes()).expect(text);
    }
    world.pass(FLUSH);
    let mut late = world.join("plain", "late");
    world.pass(FLUSH);
    world.turns(peers.iter_mut().chain([&mut late]));
    assert_eq!(peers[0].texts(), ["to oneself"]);
    assert_eq!(peers[2].texts(), ["to b and c"]);
    let heard = peers[1].heard();
    let said: Vec<_> =
        heard.iter().map(|event| (event.stream, event.seq.0, &*event.body)).collect();
    let expected = [(StreamId::MEMBER, 1, &b"to b"[..]), (StreamId::MEMBER, 2, b"to b and c")];
    assert_eq!(said, expected);
    assert_eq!(late.texts(), [""; 0], "no history of what was said to others");
    assert_eq!(peers.each_ref().map(Peer::lost), [0; 3]);
}

#[test]
fn a_tick_carries_so_many_events_and_the_next_carries_more() {
    let mut world = world(chat(false));
    let mut peer = world.join("plain", "a");
    world.pass(FLUSH);
    world.turn(&mut peer);
    let large = vec![7; limits::EVENT_BYTES_MAX];
    for round in 0..2 {
        for to in [&[][..], &[peer.member()]] {
            let mut fits = 0;
            let last = loop {
                match peer.publish(&mut world, "chat", to, &large) {
                    Ok(_) => fits += 1,
                    Err(code) => break code,
                }
                assert!(fits < 1_000, "it has an end");
            };
            assert_eq!((last, fits), (RefusalCode::Busy, 31), "round {round} to {to:?}");
        }
        world.pass(FLUSH);
        world.turn(&mut peer);
        assert_eq!((peer.heard().len(), peer.lost()), (62, 0), "round {round}");
        peer.events.clear();
    }
}

#[test]
fn who_comes_late_hears_the_history_of_the_topics_that_have_one() {
    for (chat_history, news_history) in [(false, false), (true, false), (true, true)] {
        let mut world = world(with_topics(vec![
            topic("chat", WritePolicy::Members, chat_history),
            topic("news", WritePolicy::Members, news_history),
        ]));
        let mut first = world.join("plain", "first");
        world.pass(FLUSH);
        let said = [("chat", "c1"), ("news", "n2"), ("news", "n3"), ("chat", "c4"), ("news", "n5")];
        for (name, text) in said {
            first.publish(&mut world, name, &[], text.as_bytes()).expect("it goes out");
            world.pass(FLUSH);
        }
        // What is said in the tick in which somebody comes is heard, before or after.
        first.publish(&mut world, "news", &[], b"n6").expect("it goes out");
        let mut late = world.join("plain", "late");
        first.publish(&mut world, "chat", &[], b"c7").expect("it goes out");
        world.pass(FLUSH);
        world.turns([&mut first, &mut late]);
        let heard: Vec<(u64, String)> = late
            .heard()
            .iter()
            .map(|event| (event.seq.0, String::from_utf8_lossy(&event.body).into_owned()))
            .collect();
        let all = said.iter().chain(&[("news", "n6"), ("chat", "c7")]).zip(1..);
        let expected: Vec<(u64, String)> = all
            .filter(|((name, _), seq)| {
                *seq > 5 || if *name == "chat" { chat_history } else { news_history }
            })
            .map(|((_, text), seq)| (seq, (*text).to_owned()))
            .collect();
        assert_eq!((heard, late.lost()), (expected, 0), "{chat_history} {news_history}");
        // From here on, nobody is new.
        say(&mut world, &mut first, "after");
        world.pass(FLUSH);
        world.turns([&mut first, &mut late]);
        assert_eq!((late.texts(), late.lost()), (vec!["after".to_owned()], 0));
        assert_eq!((first.texts().len(), first.lost()), (8, 0));
    }
}

#[test]
fn who_falls_behind_hears_what_is_kept_and_counts_the_rest() {
    let small = OutboxLimits { soft_bytes_max: 4 << 10, hard_bytes_max: 64 << 10 };
    for (said_count, lost) in [(10, 0), (20, 0), (21, 1), (57, 37)] {
        let room = RoomSpec { events_max: 20, ..chat(false) };
        let mut world = World::new(RoomTypes::default().with(Plain(room)), small);
        let mut talker = world.join("plain", "talker");
        let mut slow = world.join("plain", "slow");
        world.pass(FLUSH);
        world.turns([&mut talker, &mut slow]);
        world.block(&slow);
        // Fills its queue beyond the soft limit: these wait there and are not lost.
        let queued = 2;
        for _ in 0..queued {
            talker.publish(&mut world, "chat", &[], &[b'.'; 2_000]).expect("it goes out");
            world.pass(FLUSH);
        }
        assert!(world.queued(&slow) > small.soft_bytes_max);
        let to = [slow.member()];
        for at in 0..said_count {
            say(&mut world, &mut talker, &format!("{at}"));
            talker.publish(&mut world, "chat", &to, format!("p{at}").as_bytes()).expect("goes");
            world.pass(FLUSH);
            world.turn(&mut talker);
        }
        assert_eq!((slow.heard().len(), slow.lost()), (0, 0));
        world.unblock(&slow);
        world.pass(FLUSH);
        world.turn(&mut slow);
        let texts: Vec<String> = slow.texts().split_off(queued);
        let kept =
            |prefix: &str| (lost..said_count).map(|at| format!("{prefix}{at}")).collect::<Vec<_>>();
        assert_eq!(texts, [kept(""), kept("p")].concat(), "of {said_count}");
        assert_eq!(slow.lost(), 2 * lost as u64, "of {said_count}");
        let (outcome, tick) = *slow.applied().last().expect("deltas");
        assert_eq!((outcome, tick), (Outcome::Delta, world.room().sent()), "a catch-up");
        // It keeps up again.
        say(&mut world, &mut talker, "again");
        world.pass(FLUSH);
        world.turns([&mut talker, &mut slow]);
        slow.events.drain(..slow.events.len() - 1);
        assert_eq!((slow.texts(), slow.lost()), (vec!["again".to_owned()], 2 * lost as u64));
        assert_eq!(talker.lost(), 0);
    }
}

#[test]
fn the_host_is_whoever_is_here_longest() {
    let mut world = world(chat(false));
    let mut peers = Vec::from(["a", "b", "c"].map(|name| world.join("plain", name)));
    let host = |world: &World| world.room().host();
    assert_eq!(host(&world), Some(peers[0].member()));
    // Somebody in the middle goes and comes back: it is the youngest then.
    world.disconnect(&peers.remove(1));
    assert_eq!(host(&world), Some(peers[0].member()));
    peers.push(world.join("plain", "b again"));
    for left in [2, 1] {
        world.disconnect(&peers.remove(0));
        assert_eq!(host(&world), Some(peers[0].member()), "{left} left");
    }
    world.disconnect(&peers.remove(0));
    assert_eq!(host(&world), None);
    let last = world.join("plain", "after all");
    assert_eq!(host(&world), Some(last.member()));
}

/// The outboxes of one room without a shard.
#[derive(Default)]
struct Boxes(BTreeMap<u32, Outbox>);

impl Outboxes for Boxes {
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        Some(self.0.entry(session.index).or_insert_with(|| Outbox::new(WIDE)))
    }
}

#[test]
fn what_was_said_to_a_member_is_not_for_the_next_who_has_its_id() {
    // The story: in a room where little was said to some, what was said to one who left was still
    // kept when, 65,534 joins later, somebody got the same id and then a first word.
    let key = RoomKey::parse("plain", "a").expect("a name");
    let mut now = Timestamp(1);
    let mut room = Room::new(key.clone(), &Plain(chat(false)), &[], now, 0).expect("a room");
    let (mut broadcast, mut boxes) = (Broadcast::default(), Boxes::default());
    let join = |room: &mut Room, now, index| {
        let join = PendingJoin::new(key.clone(), "x");
        room.join(now, SessionId { index, generation: 0 }, &join).expect("a seat")
    };
    let talker = join(&mut room, now, 0).member;
    let say = |room: &mut Room, to: MemberId, body: &[u8]| {
        let mut buffer = Vec::new();
        let to = Recipients::put(&[to], &mut buffer);
        let publish = Publish { op: OpId(1), topic: TopicId(0), to, body };
        room.handle_publish(talker, &publish).expect("it goes out");
    };
    let first = join(&mut room, now, 1).member;
    say(&mut room, first, b"a secret");
    room.leave(first);
    let successor = loop {
        let joined = join(&mut room, now, 2);
        if joined.member == first {
            break joined;
        }
        room.leave(joined.member);
        if joined.member.0.is_multiple_of(1_000) {
            now = now + FLUSH;
            room.tick(now, &mut broadcast, &mut boxes);
        }
    };
    say(&mut room, first, b"hello");
    // What the talker and those in between were sent is of no interest.
    boxes.0.clear();
    room.tick(now, &mut broadcast, &mut boxes);
    let outbox = &boxes.0[&2];
    let mut sent = vec![0; outbox.bytes()];
    assert_eq!(outbox.copy_front(&mut sent), sent.len());
    let (payload, head_bytes) = (sent.len(), if sent[1] == 126 { 4 } else { 2 });
    assert!(payload > head_bytes && sent[0] == 0x82, "one binary frame");
    let Ok(ServerMessage::Delta(delta)) = ServerMessage::decode(&sent[head_bytes..]) else {
        panic!("a delta")
    };
    let mut replica = Replica::new(first, Arc::new(successor.schema));
    replica.apply(&delta).expect("a snapshot");
    let bodies: Vec<_> = replica.heard().iter().map(|event| event.body).collect();
    assert_eq!(bodies, [b"hello"]);
}
