//! A chat with manners: members name themselves, the host sets the subject, rude words go nowhere.
//! `cargo run --release -p tickloom-server --example chat` serves the room type `chat`.

use std::{collections::BTreeMap, time::Duration};

use signal_hook::{consts::SIGINT, iterator::Signals};
use tickloom_server::prelude::*;

/// `name`, on each member's own entity. A component's id is its position in the schema.
const PROFILE: ComponentId = ComponentId(0);
const RUDE: [&str; 2] = ["darn", "heck"];
/// Rude messages after which a member is not heard any more.
const STRIKES_MAX: u8 = 3;

#[derive(Debug, Default)]
struct Chat {
    strikes: BTreeMap<MemberId, u8>,
}

fn check(text: &str) -> Allowed {
    let is_rude = RUDE.iter().any(|word| text.to_lowercase().contains(word));
    if is_rude { Err(Denial::new("please say it kindly")) } else { Ok(()) }
}

impl RoomLogic for Chat {
    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Allowed {
        check(joiner.name)?;
        let name = Value::Str(joiner.name.into());
        room.state_mut().set_prop(PROFILE, joiner.entity, "name", name);
        Ok(())
    }

    // Who may write what is in the schema; what they may write is here.
    fn on_write(&mut self, _: &mut Context<'_>, _: MemberId, all: &[Change<'_>]) -> Allowed {
        all.iter().try_for_each(|change| match change {
            Change::Prop(_, _, _, Value::Str(text)) => check(text),
            _ => Ok(()),
        })
    }

    fn on_publish(&mut self, _: &mut Context<'_>, id: MemberId, said: &Publish<'_>) -> Allowed {
        let strikes = self.strikes.entry(id).or_default();
        if *strikes >= STRIKES_MAX {
            return Err(Denial::new("you have said too much"));
        }
        let text = std::str::from_utf8(said.body).map_err(|_| Denial::new("a chat is text"))?;
        check(text).inspect_err(|_| *strikes += 1)
    }

    fn on_leave(&mut self, _: &mut Context<'_>, member: MemberId) {
        self.strikes.remove(&member);
    }

    // For recordings: what the state does not show.
    fn save(&self, output: &mut Vec<u8>) {
        output.extend(format!("{self:?}").bytes());
    }
}

/// What clients read and write, and when.
pub fn chat() -> Result<impl RoomType, SchemaError> {
    let profile = ComponentDesc::props("profile").writable_by(WritePolicy::Owner);
    let subject = ComponentDesc::props("subject").writable_by(WritePolicy::Host);
    let schema = RoomSchema::new(vec![profile, subject], vec![])?;
    let schema = schema.with_topics(vec![TopicDesc::new("said")])?;
    // Nothing moves by itself, so it ticks when something was said or written.
    let spec = RoomSpec::on_change(Duration::from_millis(20), schema);
    Ok(room_type("chat", spec, Chat::default))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::new([SIGINT])?;
    let server = serve(&Config::loopback(), &RoomTypes::default().with(chat()?))?;
    println!("ws://{}/ws, room type `chat`; Ctrl-C ends it", server.address());
    signals.forever().next();
    server.stopper().stop();
    server.join()?;
    Ok(())
}
