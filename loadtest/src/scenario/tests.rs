use super::*;

const EVENING: &str = r#"
name = "arena-evening"
[[phase]]
clients = "0 -> 4k"
over = "20s"
[[phase]]
hold = "60s"
[[phase]]
clients = 1000
over = "500ms"
[[bot]]
weight = 90
kind = "arena"
rate = 30
[[bot]]
weight = 9
kind = "spectator"
room_size = "1k"
[[bot]]
kind = "chat"
read_rate = "4KB/s"
payload = "32..256"
options = '{"members_max": 10}'
[thresholds]
"state_age.p99" = "< 80ms"
reach = ">= 99.99%"
"#;

#[test]
fn a_file_says_all_there_is_to_say() {
    let scenario = Scenario::parse(EVENING).expect("a scenario");
    let phases: Vec<(u32, u32, u64)> = scenario
        .phases
        .0
        .iter()
        .map(|phase| (phase.from, phase.to, phase.duration.as_millis() as u64))
        .collect();
    assert_eq!(phases, [(0, 4000, 20_000), (4000, 4000, 60_000), (4000, 1000, 500)]);
    let [arena, spectator, chat] = &scenario.bots[..] else { panic!("{:?}", scenario.bots) };
    assert_eq!((arena.weight, arena.kind, arena.rate_hz), (90, BotKind::Arena, 30));
    assert_eq!((spectator.room_size, spectator.rate_hz), (1000, 0));
    assert_eq!((chat.weight, chat.payload_bytes, chat.read_rate), (1, (32, 256), Some(4000)));
    assert_eq!((chat.room_type.as_str(), chat.options.len()), ("relay", 19));
    assert_eq!(scenario.thresholds.len(), 2);
}

#[test]
fn what_is_built_in_reads_as_files_of_that_name() {
    for (name, _) in BUILT_IN {
        let scenario = Scenario::built_in(name).expect(name);
        assert_eq!(scenario.name, name);
        // What the file says and what is left out mean the same.
        let bare = Scenario::parse(&format!("[[bot]]\nkind = \"{name}\"")).expect(name);
        let [shown, bare] = [&scenario.bots[0], &bare.bots[0]];
        assert_eq!((shown.room_size, shown.rate_hz), (bare.room_size, bare.rate_hz), "{name}");
    }
    assert_eq!(Scenario::built_in("soccer"), None);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let bot = "[[bot]]\nkind = \"arena\"\n";
    for (text, hint) in [
        ("", "at least one [[bot]]"),
        ("name = ", "name"),
        ("nme = \"x\"", "did you mean `name`?"),
        ("[[bot]]\nknd = \"arena\"", "[[bot]] number 1 has no key `knd`; did you mean `kind`?"),
        ("[[bot]]\nroom_size = 3", "`kind` of [[bot]] number 1: is needed: arena, spectator"),
        ("[[bot]]\nkind = \"danmku\"", "did you mean `danmaku`?"),
        ("[[bot]]\nkind = \"poker\"", "there are arena, spectator"),
        ("[[bot]]\nkind = \"chat\"\npayload = \"8..20\"", "must be within 20.."),
        ("[[bot]]\nkind = \"chat\"\nrate = \"fast\"", "such as 20, 20/s or 2k/s; found `fast`"),
        ("[[bot]]\nkind = \"idle\"\nrate = 3", "send nothing by the clock"),
        ("[[bot]]\nkind = \"arena\"\nweight = 0", "at least 1"),
        ("[[bot]]\nkind = \"arena\"\nread_rate = \"4\"", "such as 4KB/s"),
        ("[[bot]]\nkind = \"arena\"\nweight = \"20k\"", "10000 or less"),
        ("bot = 3", "[[bot]]"),
    ] {
        let error = Scenario::parse(text).expect_err(text).to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
    for (phases, hint) in [
        ("hold = \"5s\"", "the first phase says how many"),
        ("clients = 5", "either `over` or `hold`"),
        ("clients = \"0 -> 5\"\nhold = \"1s\"", "takes its time `over`"),
        ("clients = 5\nhold = \"1s\"\nover = \"1s\"", "either `over` or `hold`"),
        ("clients = 5\nhold = \"1\"", "with its unit"),
        ("clients = 5\nhold = \"1ms\"", "at least 100ms"),
        ("clients = 0\nhold = \"1s\"", "no phase has any clients"),
        ("clients = 5\nhold = \"1s\"\n[[phase]]\nclients = \"4 -> 6\"\nover = \"1s\"", "with 5"),
        ("length = 5", "has no key `length`; there are clients, over, hold"),
    ] {
        let text = format!("[[phase]]\n{phases}\n{bot}");
        let error = Scenario::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
    for (threshold, hint) in [
        ("\"stat_age.p99\" = \"< 80ms\"", "did you mean `state_age.p99`?"),
        ("errors = 0", "expected a table"),
    ] {
        let error = Scenario::parse(&format!("{bot}[thresholds]\n{threshold}")).expect_err("no");
        assert!(error.to_string().contains(hint), "{threshold}: {error}");
    }
}

#[test]
fn only_those_of_a_lobby_stay_for_a_time_and_go() {
    let stay = |kind: &str, stay: &str| {
        let text = format!("[[bot]]\nkind = \"{kind}\"\nstay = \"{stay}\"");
        Scenario::parse(&text).map(|scenario| scenario.bots[0].stay_ms)
    };
    assert_eq!(stay("lobby", "1s..5s"), Ok((1_000, 5_000)));
    assert_eq!(stay("lobby", "200ms"), Ok((200, 200)));
    for (kind, text) in
        [("chat", "1s"), ("lobby", "5s..1s"), ("lobby", "0ms"), ("lobby", "2h"), ("lobby", "5")]
    {
        let error = stay(kind, text).expect_err(text).to_string();
        assert!(error.contains("`stay` of [[bot]] number 1"), "{error}");
    }
}
