//! Rooms whose logic has a say in what members write and publish, and what follows when it panics.

use tickloom_protocol::changes::{Change, ChangesBuilder};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Publish;
use tickloom_protocol::ids::{EntityId, MemberId, TopicId};
use tickloom_protocol::schema::TopicDesc;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::room::logic::{Context, Denial, Joiner, RoomLogic, RoomSpec, RoomType};
use tickloom_server::rooms::RoomTypes;

use crate::harness::{WIDE, World, prop};
use crate::{FLUSH, Plain, schema, spec};

/// Rooms that deny what says `no` and panic at what says `boom`.
struct Guarded;

fn guarded_spec() -> RoomSpec {
    spec(schema().with_topics(vec![TopicDesc::new("chat")]).expect("topics"))
}

impl RoomType for Guarded {
    fn name(&self) -> &str {
        "guarded"
    }

    fn spec(&self) -> RoomSpec {
        guarded_spec()
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Self)
    }
}

fn judge(word: &[u8]) -> Result<(), Denial> {
    match word {
        b"no" | b"explain" => Err(Denial { message: "not that".to_owned() }),
        b"boom" => panic!("told to"),
        _ => Ok(()),
    }
}

impl RoomLogic for Guarded {
    fn on_join(&mut self, _: &mut Context<'_>, _: &Joiner<'_>) -> Result<(), Denial> {
        Ok(())
    }

    fn on_write(
        &mut self,
        _: &mut Context<'_>,
        _: MemberId,
        changes: &[Change<'_>],
    ) -> Result<(), Denial> {
        changes.iter().try_for_each(|change| match change {
            Change::Prop(_, _, key, _) => judge(key.as_bytes()),
            _ => Ok(()),
        })
    }

    fn on_publish(
        &mut self,
        room: &mut Context<'_>,
        _: MemberId,
        publish: &Publish<'_>,
    ) -> Result<(), Denial> {
        if publish.body == b"announce" || publish.body == b"explain" {
            assert!(room.publish(TopicId(0), b"hear, hear"), "there is place");
            assert!(!room.publish(TopicId(1), b"there is no such topic"));
        }
        judge(publish.body)
    }
}

fn world() -> World {
    World::new(RoomTypes::default().with(Plain(guarded_spec())).with(Guarded), WIDE)
}

#[test]
fn what_the_logic_denies_does_not_happen() {
    let mut world = world();
    let mut peer = world.join("guarded", "a");
    world.pass(FLUSH);
    world.turn(&mut peer);
    let props = peer.component("props");
    let mut changes = ChangesBuilder::default();
    for key in ["yes", "no"] {
        changes.prop(props, EntityId::ROOM, key, &Value::Int(1));
    }
    assert_eq!(peer.write(&mut world, &changes), Err(RefusalCode::Denied));
    assert_eq!(peer.publish(&mut world, "chat", &[], b"no"), Err(RefusalCode::Denied));
    let denied = peer.events.iter().any(
        |event| matches!(event, ClientEvent::Refused { message, .. } if &**message == "not that"),
    );
    assert!(denied, "{:?}", peer.events);
    assert!(peer.publish(&mut world, "chat", &[], b"announce").is_ok());
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.prop("props", EntityId::ROOM, "yes"), None);
    let heard = peer.heard();
    let said: Vec<_> = heard.iter().map(|event| (event.from, &*event.body)).collect();
    assert_eq!(said, [(MemberId::SERVER, &b"hear, hear"[..]), (peer.member(), b"announce")]);
}

#[test]
fn why_something_is_denied_is_heard_although_nothing_happens() {
    // The story: a room without a rate woke for what was allowed only, so the reason its logic
    // gave waited for somebody else to do something.
    let mut world = world();
    let mut peer = world.join("guarded", "a");
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.publish(&mut world, "chat", &[], b"explain"), Err(RefusalCode::Denied));
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.texts(), ["hear, hear"]);
}

#[test]
fn a_panic_over_a_write_or_a_publication_fails_that_room_alone() {
    for way in ["write", "publish"] {
        let mut world = world();
        let mut elsewhere = world.join("plain", "elsewhere");
        let mut peers = ["a", "b"].map(|name| world.join("guarded", name));
        world.pass(FLUSH);
        let [first, second] = &mut peers;
        if way == "write" {
            let props = first.component("props");
            first.client.write(&prop(props, EntityId::ROOM, "boom", Value::Int(1)));
        } else {
            let topic = first.topic("chat");
            first.client.publish(topic, &[], b"boom");
        }
        world.turns([&mut *first, &mut *second]);
        for peer in [&first, &second] {
            assert_eq!(peer.closed().map(|reason| reason.code()), Some(1011), "{way}");
        }
        assert_eq!(world.shard.rooms().count(), 1, "{way}: the other room is there");
        assert_eq!(world.shard.metrics().rooms_failed, 1, "{way}");
        elsewhere.publish(&mut world, "chat", &[], b"fine").expect("it goes out");
        world.pass(FLUSH);
        world.turn(&mut elsewhere);
        assert_eq!((elsewhere.texts(), elsewhere.closed()), (vec!["fine".to_owned()], None));
    }
}
