//! A player, whatever its game: sends inputs, and waits for them to be acknowledged. What is in
//! them is up to whoever steers it.

use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::schema::{FieldId, RowLayout};
use tickloom_protocol::server_message::DeltaHead;
use tickloom_protocol::time::Timestamp;

use super::acks::Acks;
use super::{Absence, MissingName, Workload};
use crate::client::{Ledger, Turn};
use crate::scenario::bots::Place;

/// Decides what a player does.
pub(super) trait Steer: Send {
    /// Looks up by name what it needs of the room.
    fn handle_joined(&mut self, _seat: &Seat) {}

    /// What the player does next.
    fn steer(&mut self, seat: &Seat) -> Steering;
}

/// What a player does in one input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Steering {
    /// -1 is full speed left, 1 right.
    pub(super) move_x: f64,
    /// -1 is full speed down, 1 up.
    pub(super) move_y: f64,
    /// Where the player looks, in radians.
    pub(super) aim: f64,
    /// What it presses, a bit each.
    pub(super) buttons: u8,
}

/// A player.
pub(super) struct Player<S> {
    steer: S,
    /// Sends inputs at all.
    is_active: bool,
    /// Present from `Joined` on.
    fields: Option<InputFields>,
    row: Vec<u8>,
    acks: Acks,
}

impl<S: Steer> Player<S> {
    pub(super) fn new(place: &Place<'_>, steer: S) -> Self {
        let acks = Acks::new(place.read_rate.is_some());
        let is_active = place.bot.rate_hz > 0;
        Self { steer, is_active, fields: None, row: Vec::new(), acks }
    }
}

impl<S: Steer> Workload for Player<S> {
    fn handle_joined(&mut self, seat: &Seat) -> Result<(), MissingName> {
        self.fields = Some(InputFields::new(seat.replica.entities().schema().input()));
        self.steer.handle_joined(seat);
        Ok(())
    }

    fn act(&mut self, intended: Timestamp, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let (Some(fields), Some(seat)) = (&self.fields, protocol.seat()) else { return };
        fields.write(&self.steer.steer(seat), &mut self.row);
        if let Some(seq) = protocol.input(&self.row) {
            self.acks.push(seq, intended, turn);
        }
    }

    fn handle_applied(&mut self, head: DeltaHead, _seat: &Seat, turn: &mut Turn<'_>) {
        if self.is_active {
            self.acks.count_margin(head, turn);
        }
        self.acks.handle_applied(head, turn);
    }

    fn handle_absence(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        self.acks.handle_absence(absence, turn);
    }

    fn finish(&mut self, _seat: Option<&Seat>, turn: &mut Turn<'_>, ledger: &mut Ledger) {
        self.acks.finish(turn, ledger);
    }
}

/// Where the fields of a player's input lie in the server's row. A field the server does not
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
            (self.buttons, f64::from(steering.buttons)),
        ] {
            if let Some(field) = field {
                self.layout.write(row, field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::schema::{FieldDesc, FieldType};

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
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..100 {
                let mut axis = || rng.f64() * 2.0 - 1.0;
                let (move_x, move_y, aim) = (axis(), axis(), 3.0 + axis());
                let steering = Steering { move_x, move_y, aim, buttons: rng.u8(..) };
                inputs.write(&steering, &mut row);
                assert!(layout.accepts(&row), "{row:?} in {layout:?}");
            }
        }
    }
}
