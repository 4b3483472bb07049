//! A client that goes from room to room: it makes one, finds one by a code that somebody gave it,
//! or searches for company, stays a while, and goes to the next.
//!
//! ```text
//! connect -> Outside -> Asking -- Joined --> Entering -- first state --> Inside -> Leaving -.
//!               ^         '-- refused: elsewhere, soon --.  hosts lock and unlock           |
//!               '-----------------------------------------<-------------------- Left -------'
//!               '-- over another connection now and then
//! ```
//!
//! What it does next is drawn here; what the server must answer is the [`Noticeboard`]'s business.

mod visit;
mod wish;

use fastrand::Rng;
use tickloom_protocol::client::{Client as ProtocolClient, ClientEvent, Seat};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::OpId;
use tickloom_protocol::replica::{Applied, Outcome};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use super::noticeboard::{Offer, Wrong};
use super::{Client, Ledger, Setup, Stage, Turn, connect};
use crate::plan::Load;
use crate::scenario::bots::Bot;
use crate::tally::{Counters, Window};
use crate::workload::SPREAD;
use visit::{Errand, Visit};
use wish::{Pace, Party, Wish};

/// Rooms that are asked for over one connection before another one is opened: servers let one
/// connection make so many, and players close their pages.
const ASKED_MAX: u32 = 16;

/// Refusals in a row after which a client searches for company, which nobody refuses.
const REFUSALS_MAX: u32 = 3;

/// A client that goes from room to room.
pub struct LobbyClient {
    protocol: ProtocolClient,
    stage: Stage,
    /// When the current stage began.
    stage_since: Timestamp,
    whereabouts: Whereabouts,
    bot: Bot,
    /// What no other client of the run is called.
    name: Box<str>,
    party: Party,
    pace: Pace,
    clock_offset_us: i64,
    rng: Rng,
    has_played: bool,
    /// Whether the window is over: whoever is somewhere then stays there.
    is_over: bool,
    /// Rooms asked for over this connection.
    asked_count: u32,
    refused_count: u32,
    /// When it opens another connection; present while it has none.
    returns_at: Option<Timestamp>,
}

/// Where a client is, and what it waits for.
enum Whereabouts {
    /// It has no connection yet, or none any more.
    Nowhere,
    /// It chooses a room at this moment.
    Outside(Timestamp),
    /// It asked for a room.
    Asking(Question),
    /// It has a seat, and waits for its first state.
    Entering(Question, Box<str>),
    /// It is there.
    Inside(Visit),
    /// It gave its seat back, and waits to be told so.
    Leaving(Box<str>),
}

/// A room that was asked for.
struct Question {
    wish: Wish,
    /// When it was meant to be asked for.
    intended: Timestamp,
    /// When it was.
    asked_at: Timestamp,
}

impl Client for LobbyClient {
    fn new(setup: &Setup<'_>, now: Timestamp) -> Self {
        let (plan, index) = (setup.plan, setup.index);
        let Load::Rooms(load) = &plan.load else {
            unreachable!("the driver makes these clients for rooms only")
        };
        let bot = load.cast.place(index).bot.clone();
        let sender = index.wrapping_add(setup.life.wrapping_mul(plan.clients_count));
        let seed = plan.seed ^ (u64::from(sender) + 1).wrapping_mul(SPREAD);
        Self {
            protocol: connect(setup, !seed),
            stage: Stage::Upgrading,
            stage_since: now,
            whereabouts: Whereabouts::Nowhere,
            name: format!("guest-{sender}").into(),
            party: Party::of(setup),
            pace: Pace::of(&bot),
            bot,
            clock_offset_us: setup.clock_offset_us,
            rng: Rng::with_seed(seed),
            has_played: false,
            is_over: false,
            asked_count: 0,
            refused_count: 0,
            returns_at: None,
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        turn.count_arrived(bytes);
        let inflated_before = self.protocol.inflated();
        let mut input = bytes;
        let mut has_more = true;
        while has_more {
            has_more = self.protocol.handle_next(&mut input);
            while let Some(event) = self.protocol.poll_event() {
                self.handle_event(event, turn);
            }
        }
        turn.count_inflated(inflated_before, self.protocol.inflated());
    }

    fn handle_timer(&mut self, turn: &mut Turn<'_>) {
        let Some(due) = self.next_due_at().filter(|due| *due <= turn.now) else { return };
        if turn.now >= turn.window.until {
            self.is_over = true;
            return;
        }
        if turn.window.contains(due) {
            turn.tally.sched_lag.record_between(due, turn.now);
        }
        match &self.whereabouts {
            Whereabouts::Outside(intended) => self.ask(*intended, turn),
            Whereabouts::Inside(_) => self.mind_visit(turn),
            Whereabouts::Nowhere
            | Whereabouts::Asking(_)
            | Whereabouts::Entering(..)
            | Whereabouts::Leaving(_) => {}
        }
    }

    fn handle_disconnect(&mut self, error: &str, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Ended | Stage::Away => {}
            Stage::Closing => self.end(turn),
            Stage::Upgrading => {
                turn.tally.errors.count(error, &self.name);
                self.end(turn);
            }
            Stage::Joining | Stage::Playing => {
                turn.tally.closes.count("1006", error);
                self.end(turn);
            }
        }
    }

    fn handle_stop(&mut self) {
        if matches!(self.stage, Stage::Joining | Stage::Playing) {
            self.protocol.close();
            self.stage = Stage::Closing;
        } else if matches!(self.stage, Stage::Upgrading | Stage::Away) {
            self.stage = Stage::Ended;
        }
    }

    fn handle_leave(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        if matches!(self.whereabouts, Whereabouts::Entering(..) | Whereabouts::Inside(_)) {
            self.leave(turn);
        }
        self.handle_stop();
        None
    }

    fn come_back(&mut self, setup: &Setup<'_>, now: Timestamp) {
        self.protocol = connect(setup, now.0 ^ u64::from(setup.index).wrapping_mul(SPREAD));
        self.stage = Stage::Upgrading;
        self.stage_since = now;
        self.returns_at = None;
    }

    fn returns_at(&self) -> Option<Timestamp> {
        self.returns_at.filter(|_| self.stage == Stage::Away)
    }

    fn handle_second(&mut self, _turn: &mut Turn<'_>) {}

    fn finish(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        turn.tally.counters.lobby_unanswered += u64::from(self.is_waiting());
        None
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn next_due_at(&self) -> Option<Timestamp> {
        match &self.whereabouts {
            _ if self.is_over => None,
            Whereabouts::Outside(until) => Some(*until),
            Whereabouts::Inside(visit) => visit.next_due_at(),
            Whereabouts::Nowhere
            | Whereabouts::Asking(_)
            | Whereabouts::Entering(..)
            | Whereabouts::Leaving(_) => None,
        }
    }

    fn has_tail(&self, _window: Window) -> bool {
        !self.is_waiting()
    }

    fn tail_us(&self) -> Option<u64> {
        None
    }

    fn output_mut(&mut self) -> &mut Vec<u8> {
        self.protocol.output_mut()
    }
}

impl LobbyClient {
    /// Whether something of the server's is missing.
    fn is_waiting(&self) -> bool {
        match &self.whereabouts {
            Whereabouts::Asking(_) | Whereabouts::Entering(..) | Whereabouts::Leaving(_) => true,
            Whereabouts::Inside(visit) => {
                matches!(visit.errand, Errand::Locking(..) | Errand::Unlocking(_))
            }
            Whereabouts::Nowhere => matches!(self.stage, Stage::Upgrading | Stage::Away),
            Whereabouts::Outside(_) => false,
        }
    }

    fn handle_event(&mut self, event: ClientEvent, turn: &mut Turn<'_>) {
        match event {
            ClientEvent::Upgraded => self.upgraded(turn),
            ClientEvent::Joined => self.joined(turn),
            ClientEvent::Applied { applied, .. } => self.applied(applied, turn),
            ClientEvent::Broken(error) => turn.count_broken(&error),
            ClientEvent::TimeSync(sync) => {
                turn.tally.counters.clock_slips += u64::from(sync.client_us == 0);
            }
            ClientEvent::Refused { code, message, op, .. } if op == OpId::NONE => {
                self.refused(code, &message, turn);
            }
            ClientEvent::Refused { message, .. } => self.refused_as_host(&message, turn),
            ClientEvent::Accepted(accepted) => self.accepted(accepted.op, turn),
            // The close that follows counts.
            ClientEvent::GoAway { .. } => {}
            ClientEvent::Left(_) => self.left(turn),
            ClientEvent::Unknown(_) => turn.tally.counters.unknown_messages += 1,
            ClientEvent::UpgradeFailed(error) => {
                turn.tally.errors.count(&error.to_string(), &self.name);
                self.end(turn);
            }
            ClientEvent::Closed(reason) => self.closed(&reason, turn),
        }
    }

    fn upgraded(&mut self, turn: &mut Turn<'_>) {
        if !self.has_played {
            turn.tally.counters.clients_connected += 1;
        }
        turn.tally.connect.record_between(self.stage_since, turn.now);
        self.stage = if self.has_played { Stage::Playing } else { Stage::Joining };
        self.asked_count = 0;
        self.ask(turn.now, turn);
    }

    /// Asks for a room, which was meant to happen at `intended`.
    fn ask(&mut self, intended: Timestamp, turn: &mut Turn<'_>) {
        let wish = if self.refused_count < REFUSALS_MAX {
            Wish::draw(turn.board, &mut self.rng)
        } else {
            Wish::company(&mut self.rng)
        };
        if let Wish::Code { code, .. } = &wish {
            turn.board.ask(turn.now, code);
        }
        wish.send(&mut self.protocol, &self.bot, &self.name, &self.party);
        self.asked_count += 1;
        let question = Question { wish, intended, asked_at: turn.now };
        self.whereabouts = Whereabouts::Asking(question);
    }

    fn joined(&mut self, turn: &mut Turn<'_>) {
        let (Some(seat), Whereabouts::Asking(question)) =
            (self.protocol.seat(), std::mem::replace(&mut self.whereabouts, Whereabouts::Nowhere))
        else {
            return;
        };
        let is_counted = turn.window.contains(question.intended);
        let (room, wrong) = self.check_room(seat, &question, turn);
        let entered = turn.board.enter(turn.now, &room, &self.name, seat.entity);
        let is_new = !matches!(question.wish, Wish::Code { .. }) && self.is_new(seat, &question);
        let counters = &mut turn.tally.counters;
        counters.lobby_rooms_made += u64::from(is_counted && is_new);
        if is_counted {
            *question.wish.counter(counters) += 1;
        }
        self.refused_count = 0;
        self.whereabouts = Whereabouts::Entering(question, room);
        self.note(wrong.or(entered), turn);
    }

    /// Which room a seat is in, and what is wrong with it.
    fn check_room(
        &self,
        seat: &Seat,
        question: &Question,
        turn: &mut Turn<'_>,
    ) -> (Box<str>, Option<Wrong>) {
        let asked_at = question.asked_at;
        let (told, seats_max) = (&*seat.room, self.bot.room_size as usize);
        match &question.wish {
            Wish::Code { code, typed, opens, .. } => {
                let wrong = turn.board.let_in(turn.now, code, asked_at, *opens);
                // Who knows the name need not be told.
                let expected = if *typed == *code { "" } else { &**code };
                let strayed = Wrong::Strayed("another room than that of the code");
                (code.clone(), wrong.or((told != expected).then_some(strayed)))
            }
            Wish::Create { password } => {
                let is_old = turn.board.is_taken(told) || told.is_empty();
                let password = password.clone();
                let offer = Offer { seats_max, mode: None, password, is_new: true };
                turn.board.post(turn.now, told, offer);
                let strayed = Wrong::Strayed("a room that was there already");
                (told.into(), is_old.then_some(strayed))
            }
            Wish::Company { mode } => {
                let wrong = turn.board.check_found(told, asked_at, *mode);
                if !turn.board.is_taken(told) {
                    let is_new = self.is_new(seat, question);
                    let (mode, password) = (Some(*mode), Box::default());
                    turn.board.post(turn.now, told, Offer { seats_max, mode, password, is_new });
                }
                (told.into(), wrong)
            }
        }
    }

    /// Whether a room did not tick before it was asked for, and nobody else was there before.
    fn is_new(&self, seat: &Seat, question: &Question) -> bool {
        let began_us = seat.clock.epoch.0.saturating_add_signed(-self.clock_offset_us);
        matches!(question.wish, Wish::Create { .. })
            || began_us + u64::from(seat.clock.tick_us) >= question.asked_at.0
    }

    fn applied(&mut self, applied: Applied, turn: &mut Turn<'_>) {
        let counters = &mut turn.tally.counters;
        counters.hashes_checked += u64::from(applied.hashes_checked);
        counters.deltas_received += u64::from(turn.window.contains(turn.now));
        match applied.outcome {
            Outcome::Duplicate => counters.duplicates += 1,
            Outcome::Awaiting => counters.ignored_awaiting += 1,
            Outcome::Snapshot | Outcome::Delta => {
                counters.deltas_applied += u64::from(turn.window.contains(turn.now));
                self.entered(turn);
            }
        }
    }

    /// State came: the first of a room makes its seat one.
    fn entered(&mut self, turn: &mut Turn<'_>) {
        let whereabouts = std::mem::replace(&mut self.whereabouts, Whereabouts::Nowhere);
        let Whereabouts::Entering(question, room) = whereabouts else {
            self.whereabouts = whereabouts;
            return;
        };
        let entities = self.protocol.seat().map(|seat| seat.replica.entities());
        let wrong = entities.and_then(|entities| {
            let names = entities.schema().component("name")?;
            turn.board.check_company(&room, question.asked_at, entities, names)
        });
        if turn.window.contains(question.intended) {
            turn.tally.join.record_between(question.intended, turn.now);
        }
        if !self.has_played {
            self.has_played = true;
            turn.tally.counters.clients_joined += 1;
            self.stage = Stage::Playing;
        }
        let stay = self.pace.draw_stay(&mut self.rng);
        let errand = match wish::locks(&mut self.rng) {
            true => Errand::Lock(turn.now + stay / 3, turn.now + stay * 2 / 3),
            false => Errand::None,
        };
        let leaves_at = turn.now + stay;
        self.whereabouts = Whereabouts::Inside(Visit { room, leaves_at, errand });
        self.note(wrong, turn);
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        let whereabouts = std::mem::replace(&mut self.whereabouts, Whereabouts::Nowhere);
        let (Whereabouts::Inside(Visit { room, .. }) | Whereabouts::Entering(_, room)) =
            whereabouts
        else {
            self.whereabouts = whereabouts;
            return;
        };
        turn.board.leave(turn.now, &room, &self.name);
        self.protocol.leave();
        self.whereabouts = Whereabouts::Leaving(room);
    }

    fn left(&mut self, turn: &mut Turn<'_>) {
        let Whereabouts::Leaving(room) = &self.whereabouts else {
            turn.tally.closes.count("left", "the seat was given back unasked");
            return self.end(turn);
        };
        turn.board.part(turn.now, room);
        if self.stage == Stage::Closing {
            self.whereabouts = Whereabouts::Nowhere;
            return;
        }
        let next_at = turn.now + self.pace.draw_pause(&mut self.rng);
        if self.asked_count < ASKED_MAX || turn.now >= turn.window.until {
            self.whereabouts = Whereabouts::Outside(next_at);
            return;
        }
        self.protocol.close();
        self.whereabouts = Whereabouts::Nowhere;
        (self.stage, self.returns_at) = (Stage::Away, Some(next_at));
    }

    /// It is not let in, and goes elsewhere.
    fn refused(&mut self, code: RefusalCode, message: &str, turn: &mut Turn<'_>) {
        let whereabouts = std::mem::replace(&mut self.whereabouts, Whereabouts::Nowhere);
        let Whereabouts::Asking(question) = whereabouts else {
            self.whereabouts = whereabouts;
            turn.tally.refusals.count(&format!("{code:?}"), message);
            return;
        };
        let Question { wish, intended, asked_at } = question;
        let wrong = match &wish {
            Wish::Code { code: room, opens, .. } => {
                turn.board.refuse(turn.now, room, asked_at, code, *opens)
            }
            Wish::Create { .. } | Wish::Company { .. } => None,
        };
        let counters = &mut turn.tally.counters;
        match (&wish, refusals(counters, code)) {
            (Wish::Code { .. }, Some(count)) => *count += u64::from(turn.window.contains(intended)),
            // Nobody who makes a room or takes any is to be refused.
            _ => {
                counters.names_missing += u64::from(code == RefusalCode::UnknownRoomType);
                turn.tally.refusals.count(&format!("{code:?}"), message);
            }
        }
        self.refused_count += 1;
        let next_at = turn.now + self.pace.draw_pause(&mut self.rng);
        self.whereabouts = Whereabouts::Outside(next_at);
        self.note(wrong, turn);
    }

    fn note(&self, wrong: Option<Wrong>, turn: &mut Turn<'_>) {
        let Some(wrong) = wrong else { return };
        let counters = &mut turn.tally.counters;
        let (count, what) = match wrong {
            Wrong::Strayed(what) => (&mut counters.lobby_strayed, what),
            Wrong::LetIn(what) => (&mut counters.lobby_let_in, what),
            Wrong::KeptOut(what) => (&mut counters.lobby_kept_out, what),
        };
        *count += 1;
        turn.tally.errors.count("lobby", &format!("{} and {what}", self.name));
    }

    fn closed(&mut self, reason: &CloseReason, turn: &mut Turn<'_>) {
        if matches!(self.stage, Stage::Upgrading | Stage::Joining | Stage::Playing) {
            turn.tally.closes.count(&reason.code().to_string(), reason.reason());
        }
        if self.stage != Stage::Away {
            self.end(turn);
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>) {
        if !self.has_played && self.stage != Stage::Closing {
            turn.tally.counters.clients_failed += 1;
        }
        if let Whereabouts::Leaving(room) = &self.whereabouts {
            turn.board.part(turn.now, room);
            self.whereabouts = Whereabouts::Nowhere;
        }
        self.stage = Stage::Ended;
    }
}

/// The count of refusals that belong to the life of a lobby; `None` for others.
fn refusals(counters: &mut Counters, code: RefusalCode) -> Option<&mut u64> {
    match code {
        RefusalCode::RoomFull => Some(&mut counters.lobby_full),
        RefusalCode::RoomLocked => Some(&mut counters.lobby_locked),
        RefusalCode::WrongPassword => Some(&mut counters.lobby_private),
        RefusalCode::UnknownRoom => Some(&mut counters.lobby_gone),
        // Whatever else is refused to somebody with a code is not of this.
        _ => None,
    }
}
