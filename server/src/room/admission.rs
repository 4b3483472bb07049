//! Who gets into a room: whether it is locked, listed, private, and which seats are kept for whom.
//!
//! ```text
//! join --> [a reserved seat's token] ------------------------> seat
//!      \-> not locked -> the password, if there is one -> a free seat
//! ```
//!
//! A reserved seat counts as taken until its time is over. Nothing here is part of the room's
//! state: members learn of it when they ask for something, strangers from the list of rooms.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use subtle::ConstantTimeEq;
use tickloom_protocol::ids::MemberId;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::properties::Properties;
use crate::room::write::Refusal;
use crate::tokens::Token;

/// How long a seat is kept for whoever has its token: long enough for a page to load and connect.
pub const SEAT_PATIENCE: Duration = Duration::from_secs(15);

/// Whether and how strangers come in.
#[derive(Debug)]
pub struct Admission {
    is_locked: bool,
    is_listed: bool,
    password: Option<Password>,
    metadata: Arc<Properties>,
    /// In the order in which they expire; at most as many as the room has seats.
    seats: Vec<ReservedSeat>,
    /// Who must go, and what they are told. Emptied before anything else happens on the shard.
    sent_away: Vec<(MemberId, Box<str>)>,
}

/// A seat that is kept for somebody.
#[derive(Debug)]
pub struct ReservedSeat {
    token: Token,
    until: Timestamp,
    /// What its member will be called; empty to leave that to the member.
    pub name: Box<str>,
}

/// A password of which only a hash is kept. Rooms forget it within the life of the process and it
/// never reaches a disk, so the hash need not be slow; what is slow is guessing, a connection for
/// every few tries.
struct Password {
    salt: hmac::Key,
    hash: hmac::Tag,
}

impl Password {
    fn new(password: &str, salt: &Token) -> Self {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, salt.bytes());
        let hash = hmac::sign(&salt, password.as_bytes());
        Self { salt, hash }
    }

    fn is(&self, password: &str) -> bool {
        let hash = hmac::sign(&self.salt, password.as_bytes());
        hash.as_ref().ct_eq(self.hash.as_ref()).into()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Admission {
    /// Open to everybody, and to those who do not know its name if it is listed.
    #[must_use]
    pub fn new(is_listed: bool) -> Self {
        Self {
            is_locked: false,
            is_listed,
            password: None,
            metadata: Arc::default(),
            seats: Vec::new(),
            sent_away: Vec::new(),
        }
    }

    // ---- what host and logic decide ------------------------------------------------------------

    /// Lets nobody else in, or does again.
    pub fn set_locked(&mut self, is_locked: bool) {
        self.is_locked = is_locked;
    }

    /// Shows the room to those who do not know its name, or no longer.
    pub fn set_listed(&mut self, is_listed: bool) {
        self.is_listed = is_listed;
    }

    /// Asks newcomers for this password from now on; for none when it is empty. `salt` is a token
    /// made for this alone.
    pub fn set_password(&mut self, password: &str, salt: &Token) {
        self.password = (!password.is_empty()).then(|| Password::new(password, salt));
    }

    /// What the room says of itself.
    pub fn set_metadata(&mut self, metadata: Properties) {
        self.metadata = Arc::new(metadata);
    }

    /// Takes a member's seat away as soon as whatever is going on is over.
    pub fn send_away(&mut self, member: MemberId, message: &str) {
        self.sent_away.push((member, message.into()));
    }

    /// The next member that must go, and what it is told.
    pub fn next_sent_away(&mut self) -> Option<(MemberId, Box<str>)> {
        // In the order of the decisions: there are few.
        (!self.sent_away.is_empty()).then(|| self.sent_away.remove(0))
    }

    // ---- seats ---------------------------------------------------------------------------------

    /// Keeps a seat for whoever shows this token.
    pub fn reserve(&mut self, now: Timestamp, token: Token, name: &str) {
        let until = now + SEAT_PATIENCE;
        self.seats.push(ReservedSeat { token, until, name: name.into() });
    }

    /// Seats that are kept for somebody at this moment.
    pub fn seats_reserved(&mut self, now: Timestamp) -> usize {
        self.seats.retain(|seat| now < seat.until);
        self.seats.len()
    }

    /// Seats that are kept, those included whose time is over and that nobody has counted since.
    pub(crate) fn seats_noted(&self) -> usize {
        self.seats.len()
    }

    /// When the last seat that is kept for somebody is free again.
    #[must_use]
    pub fn reserved_until(&self) -> Option<Timestamp> {
        self.seats.last().map(|seat| seat.until)
    }

    /// The seat that is kept for whoever shows these bytes. It is theirs now, and the token nothing.
    ///
    /// # Errors
    /// There is none, or not any more.
    pub fn redeem(&mut self, now: Timestamp, token: &[u8]) -> Result<ReservedSeat, Refusal> {
        self.seats_reserved(now);
        let position = self.seats.iter().position(|seat| seat.token.matches(token));
        position.map(|position| self.seats.remove(position)).ok_or_else(Self::bad_seat)
    }

    /// What is said to somebody whose token keeps no seat.
    pub(crate) fn bad_seat() -> Refusal {
        let message = "no seat is kept for this token: it is unknown, used, or too old";
        Refusal::new(RefusalCode::BadSeat, message)
    }

    // ---- what others may know ------------------------------------------------------------------

    /// Whether somebody who takes a seat without a token may.
    ///
    /// # Errors
    /// Why not.
    pub fn check_lock(&self) -> Result<(), Refusal> {
        if self.is_locked {
            return Err(Refusal::new(RefusalCode::RoomLocked, "the room is locked"));
        }
        Ok(())
    }

    /// Whether this is the password, if one is needed.
    ///
    /// # Errors
    /// It is not.
    pub fn check_password(&self, password: &str) -> Result<(), Refusal> {
        if self.password.as_ref().is_none_or(|kept| kept.is(password)) {
            return Ok(());
        }
        let message = match password {
            "" => "the room is private, its password is needed",
            _ => "this is not the room's password",
        };
        Err(Refusal::new(RefusalCode::WrongPassword, message))
    }

    /// Whether nobody else gets in without a token.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Whether those who do not know its name find it.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Whether newcomers need a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// What the room says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Arc<Properties> {
        &self.metadata
    }
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::ids::RoomKey;

    use super::*;
    use crate::directory::ShardIndex;
    use crate::tokens::{Secret, TokenKind, Tokens};

    fn tokens() -> impl FnMut() -> Token {
        let mut tokens = Tokens::new(Secret::new([3; 32]), ShardIndex(0));
        let key = RoomKey::parse("a", "b").expect("a key");
        move || tokens.next(TokenKind::Seat, &key, MemberId::SERVER)
    }

    #[test]
    fn a_reserved_seat_is_taken_once_and_free_again_when_its_time_is_over() {
        let mut token = tokens();
        let (first, second) = (token(), token());
        let mut admission = Admission::new(true);
        let start = Timestamp(1_000_000);
        admission.reserve(start, first, "ann");
        let later = start + SEAT_PATIENCE / 2;
        admission.reserve(later, second, "");
        assert_eq!(admission.seats_reserved(later), 2);
        assert_eq!(admission.reserved_until(), Some(later + SEAT_PATIENCE));
        let code = |taken: Result<ReservedSeat, Refusal>| {
            taken.map(|seat| String::from(seat.name)).map_err(|refusal| refusal.code)
        };
        assert_eq!(code(admission.redeem(later, &[0; 24])), Err(RefusalCode::BadSeat));
        assert_eq!(code(admission.redeem(later, first.bytes())), Ok("ann".to_owned()));
        assert_eq!(code(admission.redeem(later, first.bytes())), Err(RefusalCode::BadSeat));
        let over = later + SEAT_PATIENCE;
        assert_eq!(admission.seats_reserved(Timestamp(over.0 - 1)), 1);
        assert_eq!(code(admission.redeem(over, second.bytes())), Err(RefusalCode::BadSeat));
        assert_eq!(admission.seats_reserved(over), 0);
    }

    #[test]
    fn a_password_keeps_out_whoever_does_not_know_it() {
        let mut token = tokens();
        let mut admission = Admission::new(true);
        assert!(admission.check_password("whatever").is_ok(), "an open room asks for none");
        admission.set_password("open sesame", &token());
        for (password, opens) in
            [("open sesame", true), ("", false), ("open sesam", false), ("Open sesame", false)]
        {
            assert_eq!(admission.check_password(password).is_ok(), opens, "{password:?}");
        }
        assert!(!format!("{admission:?}").contains("sesame"), "logs do not show it");
        admission.set_password("", &token());
        assert!(!admission.has_password() && admission.check_password("").is_ok());
    }
}
