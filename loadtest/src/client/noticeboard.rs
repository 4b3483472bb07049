//! What the clients of one thread know of the rooms they made and found: the codes they give each
//! other, and what the server must have answered. Pure.
//!
//! ```text
//! made, or found by a search -> a notice -- asked for by its code --> entered --> left
//!                                 '-- locked, unlocked: by its host    '-- nobody left: no notice
//! ```
//!
//! What is under way may have happened or not, so an answer is judged only where everything that
//! could have changed it was over before the question, and began after the answer.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use tickloom_protocol::entities::Entities;
use tickloom_protocol::ids::{ComponentId, EntityId};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

/// Rooms that everybody wants to see: the newest ones.
const NEWEST_MAX: usize = 4;

/// How many are to share a room, and who finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Seats of the room.
    pub seats_max: usize,
    /// What those who search for company must look for; `None` for a room that is not listed.
    pub mode: Option<u8>,
    /// What newcomers must know; empty for nothing.
    pub password: Box<str>,
    /// Whether the room is known to be new, and so not locked.
    pub is_new: bool,
}

/// Somebody with a seat.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Guest {
    name: Box<str>,
    entity: EntityId,
    since: Timestamp,
}

/// Whether a room lets anybody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lock {
    /// It does since then, and nobody has asked to change that.
    Open(Timestamp),
    /// It does not since then, and nobody has asked to change that.
    Locked(Timestamp),
    /// Nobody knows.
    Unknown,
}

/// A room that somebody of this thread is in, or on the way to or from.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Notice {
    offer: Offer,
    guests: Vec<Guest>,
    /// Clients that have asked for it by its code and were not answered.
    coming_count: usize,
    /// Clients that have given their seat back and were not answered.
    going_count: usize,
    /// The last moment at which its last seat may have been somebody's.
    crowded_until: Timestamp,
    /// The last moment at which nobody may have been there.
    vacant_until: Timestamp,
    lock: Lock,
}

/// Something that a server must not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// It led somebody to another room than the one that was asked for.
    Strayed(&'static str),
    /// It let somebody in who was to be kept out.
    LetIn(&'static str),
    /// It kept somebody out for no reason.
    KeptOut(&'static str),
}

/// Everybody's notices.
#[derive(Debug, Default)]
pub struct Noticeboard {
    notices: BTreeMap<Box<str>, Notice>,
    newest: VecDeque<Box<str>>,
}

impl Notice {
    fn new(now: Timestamp, offer: Offer) -> Self {
        let lock = if offer.is_new { Lock::Open(now) } else { Lock::Unknown };
        Self {
            offer,
            guests: Vec::new(),
            coming_count: 0,
            going_count: 0,
            crowded_until: now,
            vacant_until: now,
            lock,
        }
    }

    /// Changes who is there, and remembers what may have been so up to now.
    fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut Self)) {
        if self.may_be_full() {
            self.crowded_until = now;
        }
        if self.guests.is_empty() {
            self.vacant_until = now;
        }
        change(self);
    }

    /// Whether one of those who come, counted among them, may find no seat.
    fn may_be_full(&self) -> bool {
        self.guests.len() + self.coming_count + self.going_count > self.offer.seats_max
    }

    fn is_over(&self) -> bool {
        self.guests.is_empty() && self.coming_count == 0 && self.going_count == 0
    }
}

impl Noticeboard {
    /// A code to try, and the password that goes with it: half of them of the newest rooms.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> Option<(Box<str>, Box<str>)> {
        let newest = if rng.bool() { rng.choice(&self.newest) } else { None };
        let any = || self.notices.keys().nth(rng.usize(..self.notices.len().max(1)));
        let code = newest.or_else(any)?;
        let notice = self.notices.get(code)?;
        Some((code.clone(), notice.offer.password.clone()))
    }

    /// Somebody asks for a room by its code.
    pub fn ask(&mut self, now: Timestamp, code: &str) {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.change(now, |notice| notice.coming_count += 1);
        }
    }

    /// Somebody who asked for a room by its code at `asked_at` was let in, with or without its
    /// password.
    pub fn let_in(
        &mut self,
        now: Timestamp,
        code: &str,
        asked_at: Timestamp,
        has_password: bool,
    ) -> Option<Wrong> {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.change(now, |notice| notice.coming_count -= 1);
        }
        if !has_password {
            return Some(Wrong::LetIn("a private room, by a wrong password"));
        }
        self.check_lock(code, asked_at)
    }

    /// Somebody who asked for a room by its code at `asked_at` was refused.
    pub fn refuse(
        &mut self,
        now: Timestamp,
        code: &str,
        asked_at: Timestamp,
        refusal: RefusalCode,
        has_password: bool,
    ) -> Option<Wrong> {
        let notice = self.notices.get(code)?;
        let is_right = match refusal {
            RefusalCode::RoomLocked => {
                !matches!(notice.lock, Lock::Open(since) if since < asked_at)
            }
            RefusalCode::WrongPassword => !has_password,
            RefusalCode::UnknownRoom => notice.guests.is_empty() || notice.vacant_until >= asked_at,
            // Those who search may be on their way to a room that is listed.
            RefusalCode::RoomFull => {
                notice.offer.mode.is_some()
                    || notice.may_be_full()
                    || notice.crowded_until >= asked_at
            }
            // The others are about something else than this room.
            _ => true,
        };
        if let Some(notice) = self.notices.get_mut(code) {
            notice.change(now, |notice| notice.coming_count -= 1);
        }
        self.tidy(code);
        (!is_right).then_some(Wrong::KeptOut("a room that was open, and had seats"))
    }

    /// Somebody made a room, or found one that nobody here knew.
    pub fn post(&mut self, now: Timestamp, code: &str, offer: Offer) {
        let notice = Notice::new(now, offer);
        self.notices.entry(code.into()).or_insert(notice);
        self.newest.push_back(code.into());
        if self.newest.len() > NEWEST_MAX {
            self.newest.pop_front();
        }
    }

    /// Whether somebody is in the room of this code.
    #[must_use]
    pub fn is_taken(&self, code: &str) -> bool {
        self.notices.get(code).is_some_and(|notice| !notice.guests.is_empty())
    }

    /// What is wrong when a search for rooms of `mode` at `asked_at` leads to this one.
    #[must_use]
    pub fn check_found(&self, code: &str, asked_at: Timestamp, mode: u8) -> Option<Wrong> {
        let offer = &self.notices.get(code)?.offer;
        if offer.mode != Some(mode) {
            return Some(Wrong::Strayed("a room that is not what was searched for"));
        }
        self.check_lock(code, asked_at)
    }

    /// Somebody has a seat, which makes one too many if the room is overfull.
    pub fn enter(
        &mut self,
        now: Timestamp,
        code: &str,
        name: &str,
        entity: EntityId,
    ) -> Option<Wrong> {
        let notice = self.notices.get_mut(code)?;
        let guest = Guest { name: name.into(), entity, since: now };
        notice.change(now, |notice| notice.guests.push(guest));
        let is_overfull = notice.guests.len() > notice.offer.seats_max;
        is_overfull.then_some(Wrong::LetIn("a room that was full"))
    }

    /// What is wrong when this is the first state of the room for somebody who asked at
    /// `asked_at`: whoever was there then and still is must be in it.
    #[must_use]
    pub fn check_company(
        &self,
        code: &str,
        asked_at: Timestamp,
        entities: &Entities,
        names: ComponentId,
    ) -> Option<Wrong> {
        let notice = self.notices.get(code)?;
        let is_there =
            |guest: &Guest| entities.opaque(names, guest.entity) == Some(guest.name.as_bytes());
        let mut known = notice.guests.iter().filter(|guest| guest.since < asked_at);
        let is_right = known.all(is_there);
        (!is_right).then_some(Wrong::Strayed("a room without those who are in it"))
    }

    /// Somebody gives its seat back.
    pub fn leave(&mut self, now: Timestamp, code: &str, name: &str) {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.change(now, |notice| {
                notice.guests.retain(|guest| *guest.name != *name);
                notice.going_count += 1;
            });
        }
    }

    /// Somebody who gave its seat back is told that it is gone.
    pub fn part(&mut self, now: Timestamp, code: &str) {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.change(now, |notice| notice.going_count -= 1);
        }
        self.tidy(code);
    }

    /// The host of a room asks to change whether it is locked, or is refused.
    pub fn doubt_lock(&mut self, code: &str) {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.lock = Lock::Unknown;
        }
    }

    /// The host of a room is told whether it is locked.
    pub fn set_locked(&mut self, now: Timestamp, code: &str, is_locked: bool) {
        if let Some(notice) = self.notices.get_mut(code) {
            notice.lock = if is_locked { Lock::Locked(now) } else { Lock::Open(now) };
        }
    }

    fn check_lock(&self, code: &str, asked_at: Timestamp) -> Option<Wrong> {
        let lock = self.notices.get(code)?.lock;
        let was_locked = matches!(lock, Lock::Locked(since) if since < asked_at);
        was_locked.then_some(Wrong::LetIn("a room that was locked"))
    }

    /// Takes a notice down that is about nobody. The server keeps the room for a while; whoever
    /// finds it again posts it anew.
    fn tidy(&mut self, code: &str) {
        if self.notices.get(code).is_some_and(Notice::is_over) {
            self.notices.remove(code);
            self.newest.retain(|newest| **newest != *code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RefusalCode::{RoomFull, RoomLocked, UnknownRoom, WrongPassword};
    use std::sync::Arc;
    use tickloom_protocol::schema::{ComponentDesc, RoomSchema};

    const ROOM: &str = "7K3M2Q";

    fn at(us: u64) -> Timestamp {
        Timestamp(us)
    }

    fn offer(mode: Option<u8>) -> Offer {
        Offer { seats_max: 2, mode, password: "p".into(), is_new: true }
    }

    /// A room of two seats that was made at 10, with its maker in it.
    fn board(mode: Option<u8>) -> Noticeboard {
        let mut board = Noticeboard::default();
        board.post(at(10), ROOM, offer(mode));
        assert_eq!(board.enter(at(10), ROOM, "host", EntityId(1)), None);
        board
    }

    #[test]
    fn a_refusal_is_wrong_where_nothing_can_explain_it() {
        type Change = fn(&mut Noticeboard);
        let nothing: Change = |_| {};
        let locked: Change = |board| board.set_locked(at(15), ROOM, true);
        let asked_to_lock: Change = |board| board.doubt_lock(ROOM);
        let unlocked: Change = |board| board.set_locked(at(15), ROOM, false);
        let second: Change = |board| {
            board.enter(at(15), ROOM, "two", EntityId(2));
        };
        let third_asks: Change = |board| board.ask(at(15), ROOM);
        let left: Change = |board| board.leave(at(15), ROOM, "host");
        for (name, before, after, refusal, opens, is_wrong) in [
            ("open", nothing, nothing, RoomLocked, true, true),
            ("locked", locked, nothing, RoomLocked, true, false),
            ("locked meanwhile", nothing, asked_to_lock, RoomLocked, true, false),
            ("unlocked", unlocked, nothing, RoomLocked, true, true),
            ("right password", nothing, nothing, WrongPassword, true, true),
            ("wrong password", nothing, nothing, WrongPassword, false, false),
            ("one seat free", nothing, nothing, RoomFull, true, true),
            ("no seat free", second, nothing, RoomFull, true, false),
            ("the seat is asked for by two", nothing, third_asks, RoomFull, true, false),
            ("somebody is there", nothing, nothing, UnknownRoom, true, true),
            ("the last one left", nothing, left, UnknownRoom, true, false),
            ("not about the room", nothing, nothing, RefusalCode::ServerFull, true, false),
        ] {
            let mut board = board(None);
            before(&mut board);
            board.ask(at(20), ROOM);
            after(&mut board);
            let wrong = board.refuse(at(30), ROOM, at(20), refusal, opens);
            assert_eq!(wrong.is_some(), is_wrong, "{name}: {wrong:?}");
        }
    }

    #[test]
    fn whoever_is_let_in_must_have_been_welcome() {
        for (name, locked_at, unlocks, opens, is_wrong) in [
            ("open", None, false, true, false),
            ("wrong password", None, false, false, true),
            ("locked before", Some(15), false, true, true),
            ("locked meanwhile", Some(20), false, true, false),
            ("unlocked meanwhile", Some(15), true, true, false),
        ] {
            for mode in [None, Some(3)] {
                let mut board = board(mode);
                if let Some(us) = locked_at {
                    board.set_locked(at(us), ROOM, true);
                }
                board.ask(at(20), ROOM);
                if unlocks {
                    board.doubt_lock(ROOM);
                }
                let found = board.check_found(ROOM, at(20), 3);
                let is_found_wrong = mode.is_none() || is_wrong && opens;
                assert_eq!(found.is_some(), is_found_wrong, "{name}: {found:?}");
                let wrong = board.let_in(at(30), ROOM, at(20), opens);
                assert_eq!(wrong.is_some(), is_wrong, "{name}: {wrong:?}");
            }
        }
        let mut board = board(None);
        assert_eq!(board.enter(at(20), ROOM, "two", EntityId(2)), None);
        assert!(board.enter(at(20), ROOM, "three", EntityId(3)).is_some(), "it has two seats");
    }

    #[test]
    fn the_first_state_shows_those_who_were_there_before_the_question() {
        let names = ComponentDesc::opaque("name", "text/plain", 64);
        let schema = RoomSchema::new(vec![names], vec![]).expect("a schema");
        let mut entities = Entities::new(Arc::new(schema));
        let names = ComponentId(0);
        let mut board = board(None);
        assert_eq!(board.enter(at(20), ROOM, "two", EntityId(2)), None);
        let check = |entities: &Entities, asked_us| {
            board.check_company(ROOM, at(asked_us), entities, names)
        };
        assert_eq!(check(&entities, 10), None, "nobody was there for sure");
        assert!(check(&entities, 15).is_some(), "the host was");
        entities.insert(EntityId(1), tickloom_protocol::ids::MemberId(1));
        entities.set_opaque(names, EntityId(1), b"somebody else");
        assert!(check(&entities, 15).is_some(), "that is another room");
        entities.set_opaque(names, EntityId(1), b"host");
        assert_eq!(check(&entities, 15), None);
        assert!(check(&entities, 25).is_some(), "now the second one, too");
    }

    #[test]
    fn a_notice_is_there_while_it_is_about_somebody() {
        let mut board = board(None);
        let mut rng = Rng::with_seed(1);
        let drawn = board.draw(&mut rng);
        assert_eq!(drawn, Some((ROOM.into(), "p".into())));
        board.ask(at(20), ROOM);
        board.leave(at(21), ROOM, "host");
        board.part(at(22), ROOM);
        assert!(board.draw(&mut rng).is_some() && !board.is_taken(ROOM));
        assert_eq!(board.refuse(at(23), ROOM, at(20), UnknownRoom, true), None);
        assert_eq!(board.draw(&mut rng), None);
        assert_eq!(Noticeboard::default().draw(&mut rng), None);
    }
}
