//! The arena played from outside: members join, inputs come in, ticks go by.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, Moment, Tick};
use tickloom_protocol::schema::FieldId;

use super::*;
use crate::room::admission::Admission;
use crate::room::arena::fighter::{AMMO_FULL, HP_FULL, RADIUS, SPEED_MAX};
use crate::room::arena::map::Obstacle;
use crate::room::events::EventLog;
use crate::room::member::Member;
use crate::room::rewind::Rewind;
use crate::session::SessionId;
use crate::test_room::TestRoom;

mod prediction;
mod shots;

/// One room and what a server keeps around it.
struct Harness {
    state: State,
    events: EventLog,
    rng: fastrand::Rng,
    members: BTreeMap<MemberId, Member>,
    admission: Admission,
    tick_us: u32,
    rewind: Rewind,
    /// What the member sees whose input comes next.
    seen: Moment,
    logic: ArenaLogic,
}

/// What a member does, before it is a row.
#[derive(Clone, Copy, Default)]
struct Input {
    movement: (f64, f64),
    aim: f64,
    fire: bool,
}

impl Harness {
    fn new(seed: u64) -> Self {
        let spec = Arena::new(20).spec();
        let mut harness = Self {
            state: State::new(Arc::clone(&spec.schema), spec.entities_max),
            events: EventLog::new(spec.events_max, spec.events_bytes_max, spec.schema.topics()),
            rng: fastrand::Rng::with_seed(seed),
            members: BTreeMap::new(),
            admission: Admission::new(true),
            tick_us: spec.tick_us(),
            rewind: Rewind::new(spec.rewind.as_ref().expect("a past"), spec.tick_us()),
            seen: Moment::ZERO,
            logic: ArenaLogic::new(Pace::new(spec.tick_seconds())),
        };
        harness.with(|logic, room| logic.on_create(room));
        harness
    }

    /// A room without boxes, pickups and bots, so that nothing interferes.
    fn empty() -> Self {
        let mut harness = Self::new(1);
        for pickup in std::mem::take(&mut harness.logic.pickups) {
            harness.state.despawn(pickup.entity);
        }
        harness.logic.map = Map::default();
        harness
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut ArenaLogic, &mut Context<'_>) -> T) -> T {
        let mut room = Context {
            state: &mut self.state,
            events: &mut self.events,
            host: self.members.keys().next().copied(),
            rng: &mut self.rng,
            members: &self.members,
            admission: &mut self.admission,
            tick_us: self.tick_us,
            rewind: Some(&self.rewind),
            seen: self.seen,
        };
        act(&mut self.logic, &mut room)
    }

    fn join(&mut self, member: u16, name: &str) -> EntityId {
        let member = MemberId(member);
        let entity = self.state.spawn(member).expect("a free entity");
        let joiner = Joiner { member, entity, name, options: &[] };
        self.with(|logic, room| logic.on_join(room, &joiner)).expect("a seat");
        let session = SessionId { index: u32::from(member.0), generation: 0 };
        let hearing = self.events.hearing_of_newcomer();
        self.members.insert(member, Member::new(session, entity, hearing, member.0.into()));
        entity
    }

    fn join_all(&mut self, members: RangeInclusive<u16>) {
        for member in members {
            self.join(member, "");
        }
    }

    fn leave(&mut self, member: u16) {
        self.with(|logic, room| logic.on_leave(room, MemberId(member)));
        self.members.remove(&MemberId(member));
        self.state.despawn_owned(MemberId(member));
    }

    fn input(&mut self, member: u16, input: Input) {
        let row = self.row(input);
        self.with(|logic, room| {
            logic.on_input(room, MemberId(member), &row, Freshness::Fresh);
        });
    }

    /// An input as it goes over the wire.
    fn row(&self, input: Input) -> [u8; 4] {
        let layout = self.state.schema().input();
        let mut row = [0; 4];
        let Input { movement: (x, y), aim, fire } = input;
        for (field, number) in [x, y, aim, f64::from(u8::from(fire))].into_iter().enumerate() {
            layout.write(&mut row, FieldId(field as u8), number);
        }
        assert!(layout.accepts(&row), "{row:?}");
        row
    }

    fn tick(&mut self) {
        assert_eq!(self.with(|logic, room| logic.on_tick(room)), Next::Tick);
        self.state.check_invariants();
        self.check_tables();
        self.rewind.note(&self.state);
        self.state.mark_sent();
        self.state.advance();
    }

    /// A tick of the game's parts after the bots', for rooms with nobody but the test's members.
    fn tick_without_guests(&mut self) {
        self.with(|logic, room| {
            logic.move_fighters(room);
            let living = logic.fighters.iter().enumerate().filter(|(_, f)| f.is_alive());
            logic.grid.rebuild(living.map(|(index, fighter)| (index, fighter.position)));
            logic.fly_projectiles(room);
            logic.collect_pickups(room.state_mut());
            logic.fighters.iter().for_each(|fighter| fighter.publish(room.state_mut()));
        });
        self.state.check_invariants();
        self.check_tables();
        self.rewind.note(&self.state);
        self.state.advance();
    }

    /// The logic's tables and the state tell the same story.
    fn check_tables(&self) {
        let ArenaLogic { fighters, projectiles, pickups, map, .. } = &self.logic;
        assert!(fighters.is_sorted_by(|a, b| a.entity < b.entity), "fighters ascend");
        let count = 1 + fighters.len() + projectiles.len() + pickups.len();
        assert_eq!(self.state.entities().count(), count, "every entity is in a table");
        assert!(projectiles.len() <= PROJECTILES_MAX);
        for fighter in fighters {
            assert!(map.is_free(fighter.position, RADIUS), "{fighter:?}");
            assert!(fighter.velocity.length() < SPEED_MAX + 1.0, "{fighter:?}");
            assert_eq!(fighter.is_alive(), fighter.respawn_ticks == 0, "{fighter:?}");
            assert!(self.state.entities().contains(fighter.entity), "{fighter:?}");
        }
        for projectile in projectiles {
            assert!(map.is_free(projectile.position, 0.0), "{projectile:?}");
            assert!(find(fighters, projectile.shooter).is_some(), "{projectile:?}");
        }
    }

    fn fighter(&mut self, entity: EntityId) -> &mut Fighter {
        let index = find(&self.logic.fighters, entity).expect("a fighter");
        &mut self.logic.fighters[index]
    }

    fn number(&self, component: ComponentId, entity: EntityId, field: &str) -> f64 {
        let layout = self.state.schema().layout(component).expect("a packed component");
        let field = layout.field(field).expect("a field");
        self.state.number(component, entity, field.0).expect("a value")
    }

    fn prop(&self, entity: EntityId, key: &str) -> Option<&Value> {
        self.state.entities().props(PROFILE, entity)?.get(key)
    }

    fn bots(&self) -> usize {
        self.logic.fighters.iter().filter(|fighter| fighter.is_bot()).count()
    }

    fn snapshot(&self, view: View) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.state.entities().put_snapshot(view, &mut bytes);
        bytes
    }

    fn hash(&self) -> u32 {
        self.state.entities().hash(View::Room, &mut Vec::new())
    }
}

const RIGHT: Input = Input { movement: (1.0, 0.0), aim: 0.0, fire: false };
const FIRE: Input = Input { movement: (0.0, 0.0), aim: 0.0, fire: true };

fn random_input(rng: &mut fastrand::Rng) -> Input {
    let mut stick = || rng.f64() * 2.0 - 1.0;
    let movement = (stick(), stick());
    Input { movement, aim: rng.f64() * std::f64::consts::TAU, fire: rng.bool() }
}

#[test]
fn the_first_joiner_says_how_many_fighters_there_are_at_least() {
    for (options, bots) in [
        ("", Ok(BOTS_COUNT)),
        (r#"{"bots": 0}"#, Ok(0)),
        (r#"{"bots":100}"#, Ok(BOTS_MAX)),
        (r#"{"bots":101}"#, Err("an arena has 100 bots at most")),
        (r#"{"bot":1}"#, Err("unknown field `bot`, expected `bots`")),
        (r#"{"bots":-1}"#, Err("expected usize")),
        ("many", Err("JSON such as {\"bots\": 40}")),
    ] {
        let mut room = TestRoom::new(Arena::new(20)).seed(1);
        match (room.try_join("ann", options.as_bytes()), bots) {
            (Ok(_), Ok(count)) => {
                room.join_with("bob", br#"{"bots": 7}"#);
                room.ticks(2);
                let entities = room.state().entities();
                let is = |kind: EntityKind| {
                    let of_kind = |id: &EntityId| {
                        entities.row(LOOK, *id).is_some_and(|row| row[0] == kind as u8)
                    };
                    entities.ids().filter(of_kind).count()
                };
                let fighters = [is(EntityKind::Player), is(EntityKind::Bot)];
                assert_eq!(fighters, [2, count.saturating_sub(2)], "{options}");
            }
            (Err(refusal), Err(part)) => {
                assert!(refusal.message.contains(part), "{options}: {}", refusal.message);
            }
            (result, expected) => panic!("{options}: {result:?}, not {expected:?}"),
        }
    }
}

#[test]
fn component_ids_are_positions_in_the_schema() {
    let arena = Arena::new(20);
    let schema = arena.spec().schema;
    let ids = [BODY, LOOK, VITALS, PROFILE, WEAPON, MAP];
    let names = ["body", "look", "vitals", "profile", "weapon", "map"];
    assert_eq!(schema.components().len(), ids.len());
    for (id, name) in ids.into_iter().zip(names) {
        assert_eq!(schema.component(name), Some(id), "{name}");
    }
    let inputs: Vec<_> = schema.input().fields().map(|field| &*field.name).collect();
    assert_eq!(inputs, ["move_x", "move_y", "aim", "buttons"], "`on_input` reads them in order");
    assert_eq!((arena.name(), arena.spec().tick_us()), ("arena", 50_000));
}

#[test]
fn durations_are_whole_ticks_at_every_rate() {
    for (tick_rate_hz, expected) in [
        (1, (1, 1, 1, 1)),
        (20, (5, 25, 20, 24)),
        (60, (15, 75, 60, 72)),
        (128, (32, 160, 128, 154)),
    ] {
        let pace = Pace::new(Arena::new(tick_rate_hz).spec().tick_seconds());
        let Pace { fire_ticks, reload_ticks, respawn_ticks, projectile_ticks, .. } = pace;
        let actual = (fire_ticks, reload_ticks, respawn_ticks, projectile_ticks);
        assert_eq!(actual, expected, "{tick_rate_hz} Hz");
    }
}

#[test]
fn joiners_have_a_clean_name_and_everything_a_client_draws() {
    let mut harness = Harness::new(3);
    for (member, name, expected) in [
        (1, "Ada", "Ada"),
        (2, "", "player-2"),
        (3, " \u{202e}\n ", "player-3"),
        (4, "a\tb\u{200b}c", "abc"),
        (5, "0123456789012345678901234567", "012345678901234567890123"),
        (6, "Ж\u{301}ук 漢字", "Ж\u{301}ук 漢字"),
    ] {
        let entity = harness.join(member, name);
        assert_eq!(harness.prop(entity, NAME), Some(&Value::Str(expected.into())), "{name:?}");
        assert!((harness.number(LOOK, entity, "kind") - 1.0).abs() < 0.1);
        assert!((harness.number(VITALS, entity, "hp") - 100.0).abs() < 0.1);
        assert!(harness.number(BODY, entity, "x").abs() <= 1024.0);
    }
}

#[test]
fn players_move_and_stop_at_walls_and_boxes() {
    let mut harness = Harness::empty();
    let entity = harness.join(1, "");
    let start = Vec2::new(-200.0, 0.0);
    harness.fighter(entity).position = start;
    let obstacle = Obstacle { min: Vec2::new(0.0, -100.0), max: Vec2::new(100.0, 100.0) };
    harness.logic.map = Map::new(vec![obstacle]);
    let input = |y| Input { movement: (1.0, y), ..RIGHT };
    for tick in 0..40 {
        harness.input(1, RIGHT);
        harness.tick_without_guests();
        let moved = harness.fighter(entity).position.x > start.x;
        assert!(moved, "tick {tick}");
    }
    assert_eq!(harness.fighter(entity).position, Vec2::new(-RADIUS, 0.0), "the box stops it");
    assert!((harness.number(BODY, entity, "x") + f64::from(RADIUS)).abs() < 0.05);
    for _ in 0..150 {
        harness.input(1, input(1.0));
        harness.tick_without_guests();
    }
    let corner = Vec2::new(1024.0 - RADIUS, 1024.0 - RADIUS);
    assert_eq!(harness.fighter(entity).position, corner, "it slides past, up to the borders");
}

#[test]
fn a_starved_player_coasts_to_a_stop() {
    let mut harness = Harness::empty();
    let entity = harness.join(1, "");
    harness.fighter(entity).position = Vec2::ZERO;
    for _ in 0..10 {
        harness.input(1, RIGHT);
        harness.tick_without_guests();
    }
    let fast = harness.fighter(entity).position;
    harness.tick_without_guests();
    assert!(harness.fighter(entity).position.x > fast.x, "not at once");
    for _ in 0..10 {
        harness.tick_without_guests();
    }
    let rest = harness.fighter(entity).position;
    harness.tick_without_guests();
    assert_eq!(harness.fighter(entity).position, rest);
    assert!(rest.x < fast.x + 80.0, "and not far: {rest:?}");
}

#[test]
fn a_pickup_is_collected_scored_and_replaced() {
    let mut harness = Harness::new(5);
    let entity = harness.join(1, "");
    harness.tick();
    let taken = harness.logic.pickups[0];
    let fighter = harness.fighter(entity);
    (fighter.position, fighter.hp, fighter.ammo) = (taken.position, 50, 0);
    fighter.cooldown_ticks = 25;
    let score = fighter.score;
    harness.with(|logic, room| {
        logic.grid.rebuild(logic.fighters.iter().map(|f| f.position).enumerate());
        logic.collect_pickups(room.state_mut());
        logic.place_pickups(room);
        logic.fighters.iter().for_each(|fighter| fighter.publish(room.state_mut()));
    });
    assert!(!harness.state.entities().contains(taken.entity), "it leaves");
    assert_eq!(harness.logic.pickups.len(), PICKUPS, "another one enters");
    let fighter = harness.fighter(entity);
    assert_eq!((fighter.score, fighter.hp, fighter.ammo), (score + 1, 60, 2));
    assert_eq!(fighter.cooldown_ticks, 5, "a reload is over with ammunition at hand");
    assert!((harness.number(VITALS, entity, "hp") - 60.0).abs() < 0.1);
}

#[test]
fn a_shot_hits_kills_scores_and_the_victim_comes_back() {
    let mut harness = Harness::empty();
    let (shooter, victim) = (harness.join(1, ""), harness.join(2, ""));
    harness.fighter(shooter).position = Vec2::ZERO;
    harness.fighter(victim).position = Vec2::new(300.0, 10.0);
    harness.fighter(victim).streak = 2;
    let mut hps = Vec::new();
    for _ in 0..25 {
        harness.input(1, FIRE);
        harness.tick_without_guests();
        let hp = harness.number(VITALS, victim, "hp") as u8;
        hps.extend((hps.last() != Some(&hp)).then_some(hp));
        if hp == 0 {
            break;
        }
    }
    assert_eq!(hps, [100, 75, 50, 25, 0]);
    assert!((harness.number(VITALS, shooter, "score") - 5.0).abs() < 0.1);
    let streak = |entity| harness.number(VITALS, entity, "streak") as u8;
    assert_eq!((streak(shooter), streak(victim)), (1, 0), "a streak ends with the life");
    for tick in 1..20 {
        harness.input(2, RIGHT);
        harness.tick_without_guests();
        assert!(!harness.fighter(victim).is_alive(), "tick {tick}");
    }
    harness.tick_without_guests();
    assert!((harness.number(VITALS, victim, "hp") - 100.0).abs() < 0.1, "back after a second");
    let place = harness.fighter(victim).position;
    assert!((place - Vec2::new(300.0, 10.0)).length() > 1.0, "somewhere else");
}

#[test]
fn a_shot_stops_at_a_box_and_hits_the_first_in_its_way() {
    let mut harness = Harness::empty();
    let (shooter, near, far) = (harness.join(1, ""), harness.join(2, ""), harness.join(3, ""));
    harness.fighter(shooter).position = Vec2::ZERO;
    harness.fighter(near).position = Vec2::new(30.0, 0.0);
    harness.fighter(far).position = Vec2::new(40.0, 0.0);
    harness.input(1, FIRE);
    harness.tick_without_guests();
    assert_eq!((harness.fighter(near).hp, harness.fighter(far).hp), (75, HP_FULL));
    let obstacle = Obstacle { min: Vec2::new(-10.0, 20.0), max: Vec2::new(10.0, 21.0) };
    harness.logic.map = Map::new(vec![obstacle]);
    harness.fighter(near).position = Vec2::new(0.0, 45.0);
    let up = Input { aim: std::f64::consts::FRAC_PI_2, ..FIRE };
    for _ in 0..10 {
        harness.input(1, up);
        harness.tick_without_guests();
    }
    assert_eq!(harness.fighter(near).hp, 75, "the box is in between");
    assert!(harness.logic.projectiles.is_empty());
    assert_eq!(harness.fighter(shooter).hp, HP_FULL, "nobody shoots themselves");
}

#[test]
fn a_magazine_has_six_shots_and_reloads_by_itself() {
    let mut harness = Harness::empty();
    let entity = harness.join(1, "");
    harness.fighter(entity).position = Vec2::ZERO;
    let mut shots = Vec::new();
    for tick in 0..60 {
        harness.input(1, FIRE);
        let before = harness.fighter(entity).ammo;
        harness.tick_without_guests();
        let after = harness.fighter(entity).ammo;
        let fired = after < before || (before == 0 && after == AMMO_FULL - 1);
        shots.extend(fired.then_some(tick));
    }
    assert_eq!(shots, [0, 5, 10, 15, 20, 25, 50, 55]);
}

#[test]
fn either_of_two_inputs_in_a_tick_fires() {
    let mut harness = Harness::empty();
    let entity = harness.join(1, "");
    harness.input(1, FIRE);
    harness.input(1, RIGHT);
    harness.tick_without_guests();
    assert_eq!(harness.fighter(entity).ammo, AMMO_FULL - 1);
    assert!(harness.fighter(entity).velocity.x > 0.0);
}

#[test]
fn bots_fill_up_and_leave_when_players_come() {
    let mut harness = Harness::new(9);
    for (players, bots) in [(0, 8), (1, 7), (3, 5), (8, 0), (12, 0), (5, 3), (0, 8)] {
        let here = harness.members.len() as u16;
        harness.join_all(here + 1..=players);
        (players..here).for_each(|member| harness.leave(member + 1));
        harness.tick();
        assert_eq!(harness.bots(), bots, "{players} players");
        let names = harness.logic.fighters.iter().map(|f| harness.prop(f.entity, NAME).cloned());
        let mut names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a != b), "{players} players: {names:?}");
    }
}

#[test]
fn bots_keep_an_empty_room_alive() {
    let mut harness = Harness::new(11);
    let mut kills = 0;
    for _ in 0..1200 {
        harness.tick();
        kills += harness.logic.fighters.iter().filter(|f| f.respawn_ticks == 20).count();
    }
    let score: u32 = harness.logic.fighters.iter().map(|f| u32::from(f.score)).sum();
    assert!(kills >= 3, "{kills} kills in a minute");
    assert!(score > 60, "{score} points in a minute");
}

#[test]
fn shots_of_somebody_who_leaves_are_taken_out_of_the_air() {
    let mut harness = Harness::empty();
    harness.join(1, "");
    harness.join(2, "");
    harness.input(1, FIRE);
    harness.input(2, FIRE);
    harness.tick_without_guests();
    assert_eq!(harness.logic.projectiles.len(), 2);
    harness.leave(1);
    assert_eq!(harness.logic.projectiles.len(), 1);
    harness.tick_without_guests();
    harness.leave(1);
    harness.leave(77);
}

#[test]
fn a_weapon_is_its_owners_secret() {
    let mut harness = Harness::new(13);
    let (mine, _) = (harness.join(1, ""), harness.join(2, ""));
    let secret = [0xc5, 0x9d];
    harness.tick();
    let shows = |bytes: &[u8]| bytes.windows(2).any(|window| window == secret);
    assert!(!shows(&harness.snapshot(View::Room)), "the pair is not there by chance");
    harness.state.set_row(WEAPON, mine, &secret);
    assert!(shows(&harness.snapshot(View::Member(MemberId(1)))));
    assert!(!shows(&harness.snapshot(View::Member(MemberId(2)))));
    assert!(!shows(&harness.snapshot(View::Room)));
    let mut delta = Vec::new();
    harness.state.mark_sent();
    harness.state.advance();
    harness.state.set_row(WEAPON, mine, &[0x9d, 0xc5]);
    harness.state.set_row(WEAPON, mine, &secret);
    let since = Tick(harness.state.building().0 - 1);
    harness.state.encode(since, &mut delta);
    assert!(!shows(&delta));
    harness.state.encode_private(MemberId(1), since, &mut delta);
    assert!(shows(&delta));
}

#[test]
fn the_same_seed_and_inputs_give_the_same_game() {
    let play = |seed| {
        let mut harness = Harness::new(seed);
        let mut inputs = fastrand::Rng::with_seed(99);
        harness.join_all(1..=4);
        let mut hashes = Vec::new();
        for tick in 0..2000 {
            for member in 1..=4 {
                let input = random_input(&mut inputs);
                if harness.members.contains_key(&MemberId(member)) {
                    harness.input(member, input);
                }
            }
            match tick {
                500 => harness.leave(2),
                900 => harness.join_all(5..=5),
                _ => {}
            }
            harness.tick();
            hashes.push(harness.hash());
        }
        hashes
    };
    let first = play(42);
    assert!(first == play(42), "one seed, one game");
    assert_ne!(first.last(), play(43).last(), "another seed, another game");
}

#[test]
fn a_full_room_stays_within_the_world_and_its_bounds() {
    let mut harness = Harness::new(17);
    let mut inputs = fastrand::Rng::with_seed(18);
    harness.join_all(1..=MEMBERS_MAX as u16);
    let mut held = [Input::default(); MEMBERS_MAX];
    let (mut deaths, mut projectiles_peak) = (0, 0);
    for tick in 0..2000 {
        for member in 1..=MEMBERS_MAX as u16 {
            let input = &mut held[usize::from(member) - 1];
            if inputs.u8(..) < 16 {
                *input = random_input(&mut inputs);
            }
            harness.input(member, *input);
        }
        harness.tick();
        assert!(harness.state.entities().count() <= ENTITIES_MAX, "tick {tick}");
        deaths += harness.logic.fighters.iter().filter(|f| f.respawn_ticks == 20).count();
        projectiles_peak = projectiles_peak.max(harness.logic.projectiles.len());
    }
    assert!(deaths > 100, "{deaths} deaths: it is a game");
    assert!(projectiles_peak > 30, "{projectiles_peak} in the air");
    let allocated = harness.logic.projectiles.capacity();
    assert_eq!(allocated, PROJECTILES_MAX, "tables never grow");
    assert!(harness.logic.fighters.capacity() < 2 * FIGHTERS_MAX);
}
