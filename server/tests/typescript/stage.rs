//! A server, a room, and a client of each kind in it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::companion::Companion;
use crate::node::{Node, program};
use crate::process::Process;

/// Nothing here takes longer, except when something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);

/// From one thing that the companion does to the next.
const STEP: Duration = Duration::from_millis(25);

/// So many of them: longer than from one hash of the server's to the next.
const STEPS: u32 = 160;

pub struct Stage {
    pub companion: Companion,
    node: Node,
    /// What Node's client is in the room: its own entity.
    theirs: String,
    _server: Process,
}

impl Stage {
    /// Has both join a room of a server with this configuration. `None` when there is no Node.
    pub fn open(name: &str, config: &str, wish: &Json) -> Option<Self> {
        let program = program()?;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("typescript-{name}"));
        fs::create_dir_all(&folder).expect("a folder for the test");
        fs::write(folder.join("tickloom.toml"), config).expect("written");
        let server = Process::serve(&format!("cd '{}';", folder.display()), "");
        let [room_type, room] = ["type", "room"].map(|key| wish[key].as_str().expect("a name"));
        let companion = Companion::join(server.address, room_type, room);
        let node = Node::start(program, server.address, wish);
        let mut stage = Self { companion, node, theirs: String::new(), _server: server };
        stage.theirs = stage.answer()["entity"].to_string();
        Some(stage)
    }

    /// The entities of both members: Node's first.
    pub fn own(&self) -> [String; 2] {
        [self.theirs.clone(), self.companion.seat().entity.0.to_string()]
    }

    /// Lets both play, and stop; what Node's client asked for was answered then.
    pub fn play(&mut self, act: impl FnMut(&mut Companion, u32)) {
        self.run(STEPS, act);
        self.node.say("stop");
        self.answer();
    }

    /// Has the companion do something every now and then.
    pub fn run(&mut self, steps: u32, mut act: impl FnMut(&mut Companion, u32)) {
        for step in 0..steps {
            act(&mut self.companion, step);
            let until = Instant::now() + STEP;
            while Instant::now() < until {
                self.companion.pump();
            }
        }
    }

    /// What Node's client knows now.
    pub fn show(&mut self) -> Json {
        self.node.say("show");
        let shown = as_floats(self.answer());
        let stats = json!({ "resyncs": 0.0, "eventsLost": 0.0, "handlerErrors": 0.0 });
        for (name, expected) in stats.as_object().expect("an object") {
            assert_eq!(&shown["stats"][name], expected, "{name}");
        }
        shown
    }

    /// Waits until both are at the same tick and know the same; returns what Node's client does.
    pub fn settle<T: PartialEq + std::fmt::Debug>(&mut self, part: impl Fn(&Json) -> T) -> Json {
        let started = Instant::now();
        loop {
            let shown = self.show();
            self.companion.pump();
            let ours = f64::from(self.companion.seat().replica.tick().0);
            let values = [part(&shown["values"]), part(&self.companion.values())];
            if shown["tick"] == json!(ours) && values[0] == values[1] {
                return shown;
            }
            if started.elapsed() > DEADLINE {
                assert_eq!(values[0], values[1], "ticks {} and {ours}", shown["tick"]);
                panic!("they are at ticks {} and {ours}", shown["tick"]);
            }
        }
    }

    /// Both hold the same bytes, in a room that rests.
    pub fn assert_same_hash(&self, shown: &Json) {
        let tick = self.companion.seat().replica.tick().0;
        let ours = self.companion.hashes[&tick];
        assert_eq!(shown["hashes"][tick.to_string()], json!(f64::from(ours)), "at tick {tick}");
    }

    /// Hashes of the server's were compared, for these streams and for no others.
    pub fn assert_checked(&self, shown: &Json, is_theirs: impl Fn(u64) -> bool) {
        let checked = shown["checked"].as_object().expect("by stream");
        assert!(!checked.is_empty(), "the server stated no hash");
        for stream in checked.keys() {
            assert!(is_theirs(stream.parse().expect("a number")), "stream {stream}");
        }
    }

    /// The next answer of Node's client. The companion goes on reading: who reports nothing and
    /// takes nothing is sent nothing.
    pub fn answer(&mut self) -> Json {
        let started = Instant::now();
        loop {
            if let Some(answer) = self.node.answer() {
                return answer;
            }
            assert!(started.elapsed() < DEADLINE, "node does not answer");
            self.companion.pump();
        }
    }
}

/// JSON does not tell 1 from 1.0, and neither does JavaScript; numbers of the room are texts in it.
fn as_floats(json: Json) -> Json {
    match json {
        Json::Number(number) => json!(number.as_f64()),
        Json::Array(list) => list.into_iter().map(as_floats).collect(),
        Json::Object(map) => match map.get("number").and_then(Json::as_str) {
            Some(number) => json!(number.parse::<f64>().expect("a number")),
            None => {
                let inside = map.into_iter().map(|(key, value)| (key, as_floats(value)));
                Json::Object(inside.collect())
            }
        },
        Json::Null | Json::Bool(_) | Json::String(_) => json,
    }
}
