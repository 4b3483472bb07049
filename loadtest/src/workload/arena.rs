//! A player: walks, aims, fires, and waits for its inputs to be acknowledged.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use fastrand::Rng;
use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::ids::InputSeq;
use tickloom_protocol::schema::{FieldId, RowLayout};
use tickloom_protocol::server_message::DeltaHead;
use tickloom_protocol::time::Timestamp;

use super::{Identity, MissingName, Workload};
use crate::client::{Ledger, Turn};
use crate::scenario::bots::Place;

/// Inputs kept while they wait for their acknowledgement: 32 seconds at 128 Hz.
const PENDING_INPUTS_MAX: usize = 4096;

/// A player.
pub(super) struct Arena {
    bot: Bot,
    /// Reads slowly: what it waits for says nothing about the server.
    is_slow: bool,
    /// Present from `Joined` on.
    fields: Option<InputFields>,
    row: Vec<u8>,
    /// Inputs without an acknowledgement, ascending.
    pending: VecDeque<(InputSeq, Timestamp)>,
}

impl Arena {
    pub(super) fn new(place: &Place<'_>, identity: Identity) -> Self {
        Self {
            bot: Bot::new(identity.seed),
            is_slow: place.read_rate.is_some(),
            fields: None,
            row: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// An input that was never acknowledged took at least until now.
    fn count_unacked(&self, intended: Timestamp, turn: &mut Turn<'_>) {
        if turn.window.contains(intended) {
            turn.tally.counters.inputs_unacked += 1;
            if !self.is_slow {
                turn.tally.input_ack.record_between(intended, turn.now);
            }
        }
    }
}

impl Workload for Arena {
    fn handle_joined(&mut self, seat: &Seat) -> Result<(), MissingName> {
        self.fields = Some(InputFields::new(seat.replica.entities().schema().input()));
        Ok(())
    }

    fn act(&mut self, intended: Timestamp, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let Some(fields) = &self.fields else { return };
        fields.write(&self.bot.steer(), &mut self.row);
        let Some(seq) = protocol.input(&self.row) else { return };
        if turn.window.contains(intended) {
            turn.tally.counters.inputs_sent += 1;
        }
        self.pending.push_back((seq, intended));
        if self.pending.len() > PENDING_INPUTS_MAX
            && let Some((_, oldest)) = self.pending.pop_front()
        {
            self.count_unacked(oldest, turn);
        }
    }

    fn handle_applied(&mut self, head: DeltaHead, _seat: &Seat, turn: &mut Turn<'_>) {
        while let Some(&(seq, intended)) = self.pending.front()
            && seq <= head.ack
        {
            self.pending.pop_front();
            if turn.window.contains(intended) {
                turn.tally.counters.inputs_acked += 1;
                if !self.is_slow {
                    turn.tally.input_ack.record_between(intended, turn.now);
                }
            }
        }
    }

    fn finish(&mut self, _seat: Option<&Seat>, turn: &mut Turn<'_>, ledger: &mut Ledger) {
        while let Some((_, intended)) = self.pending.pop_front() {
            // Who leaves does not wait for answers.
            if ledger.stayed {
                self.count_unacked(intended, turn);
            }
        }
    }
}

/// Where the fields of an arena's input lie in the server's row. A field the server does not
/// have is left out.
#[derive(Clone, PartialEq, Debug)]
struct InputFields {
    layout: RowLayout,
    move_x: Option<FieldId>,
    move_y: Option<FieldId>,
    aim: Option<FieldId>,
    buttons: Option<FieldId>,
}

impl InputFields {
    /// Looks the fields up by name.
    fn new(layout: &RowLayout) -> Self {
        Self {
            layout: layout.clone(),
            move_x: layout.field("move_x"),
            move_y: layout.field("move_y"),
            aim: layout.field("aim"),
            buttons: layout.field("buttons"),
        }
    }

    /// Writes one input into `row`, which becomes a row of the server's layout.
    fn write(&self, steering: &Steering, row: &mut Vec<u8>) {
        row.clear();
        row.resize(self.layout.row_bytes(), 0);
        for (field, value) in [
            (self.move_x, steering.move_x),
            (self.move_y, steering.move_y),
            (self.aim, steering.aim),
            (self.buttons, f64::from(u8::from(steering.fire))),
        ] {
            if let Some(field) = field {
                self.layout.write(row, field, value);
            }
        }
    }
}

/// What a player does in one input.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Steering {
    /// -1 is full speed left, 1 right.
    move_x: f64,
    /// -1 is full speed down, 1 up.
    move_y: f64,
    /// Where the player looks, in radians.
    aim: f64,
    /// Whether the player fires.
    fire: bool,
}

/// One player: walks in a direction for a while, then in another, and fires now and then. The
/// same seed and index always do the same.
#[derive(Clone, Debug)]
struct Bot {
    rng: Rng,
    heading: f64,
    /// Inputs until the next change of direction.
    inputs_left: u32,
}

impl Bot {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), heading: 0.0, inputs_left: 0 }
    }

    /// What the player does next.
    fn steer(&mut self) -> Steering {
        if self.inputs_left == 0 {
            self.inputs_left = self.rng.u32(10..40);
            self.heading = self.rng.f64() * TAU;
        }
        self.inputs_left -= 1;
        // A slight wobble, so that every input differs and no delta is empty by luck.
        let aim = (self.heading + (self.rng.f64() - 0.5) * 0.5).rem_euclid(TAU);
        Steering {
            move_x: self.heading.cos(),
            move_y: self.heading.sin(),
            aim,
            fire: self.rng.u8(..8) == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::schema::{FieldDesc, FieldType};

    #[test]
    fn the_same_seed_does_the_same_and_clients_differ() {
        let steps = |seed| {
            let mut bot = Bot::new(seed);
            (0..100).map(|_| bot.steer()).collect::<Vec<_>>()
        };
        assert_eq!(steps(42), steps(42));
        assert_ne!(steps(42), steps(43));
    }

    #[test]
    fn inputs_fit_the_servers_row_whatever_it_lacks() {
        let q = |name| FieldDesc::quantised(name, FieldType::Quant8, -1.0, 1.0);
        for fields in [
            vec![q("move_x"), q("move_y"), FieldDesc::angle("aim", FieldType::Quant16)],
            vec![FieldDesc::new("buttons", FieldType::U8)],
            vec![FieldDesc::new("jump", FieldType::Bool), q("move_y")],
        ] {
            let layout = RowLayout::new(fields).expect("layout");
            let (inputs, mut row) = (InputFields::new(&layout), Vec::new());
            let mut bot = Bot::new(1);
            for _ in 0..100 {
                inputs.write(&bot.steer(), &mut row);
                assert!(layout.accepts(&row), "{row:?} in {layout:?}");
            }
        }
    }
}
