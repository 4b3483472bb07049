//! Words that nobody can guess, for what is kept for somebody: a reserved seat, or the seat of a
//! member whose connection broke.
//!
//! ```text
//! token := the first 24 bytes of HMAC-SHA-256(secret, shard | number | kind | member | room)
//! ```
//!
//! A token says nothing about what it is for; whoever made it keeps it there and compares. Two
//! are never the same, because a shard numbers those it makes. The secret comes from outside, so
//! that a run under a seed makes the same tokens again.
//!
//! Those for coming back to a seat are not kept: they are made again from everything that they are
//! bound to, and compared. Each return counts in that, so a token that was used is wrong from then
//! on.

use std::fmt;

use ring::hmac;
use subtle::ConstantTimeEq;
use tickloom_protocol::ids::{MemberId, RoomKey};
use tickloom_protocol::limits;

use crate::directory::ShardIndex;
use crate::room::RoomId;
use crate::room::events::Listener;

/// What all tokens of a server are made from.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// A secret of these bytes, which nobody else may know.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a token is for. One kind never does for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A seat that is reserved for whoever shows it.
    Seat,
    /// Nothing: its bytes are drawn for something that must not be foreseen, such as a salt.
    Draw,
}

/// A word that nobody can guess.
#[derive(Clone, Copy)]
pub struct Token([u8; Self::BYTES]);

impl Token {
    /// Its length.
    pub const BYTES: usize = 24;

    /// One that everybody can guess: for a replay, in which nobody is asked for a password.
    pub(crate) const KNOWN: Self = Self([0; Self::BYTES]);

    fn of(context: hmac::Context) -> Self {
        let tag = context.sign();
        Self(*tag.as_ref().first_chunk().expect("a SHA-256 is longer than a token"))
    }

    /// What travels to the client.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Whether these are its bytes. How long it takes does not tell how near they are.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.ct_eq(bytes).into()
    }
}

const _: () = assert!(Token::BYTES <= limits::TOKEN_BYTES_MAX, "clients must be able to show it");

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What the token for coming back to a seat is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The room of this shard, which is not a later one of the same name.
    pub room: RoomId,
    /// The seat in it.
    pub member: MemberId,
    /// Who sits there, which is not a later member of the same id.
    pub listener: Listener,
    /// How often it came back.
    pub returns: u32,
    /// On whose behalf. Nobody proves who they are to this server, so it is what they call
    /// themselves.
    pub subject: &'a [u8],
}

/// Where others have the number of their shard: keeps these tokens apart from them.
const FOR_RETURN: &[u8; 8] = b"returns\0";

/// Makes the tokens of one shard.
#[derive(Debug)]
pub struct Tokens {
    secret: Secret,
    shard: ShardIndex,
    /// How many were made.
    made: u64,
}

impl Tokens {
    /// The tokens of this shard.
    #[must_use]
    pub fn new(secret: Secret, shard: ShardIndex) -> Self {
        Self { secret, shard, made: 0 }
    }

    /// A new token, for something of a member in a room; [`MemberId::SERVER`] where there is no
    /// member yet.
    pub fn next(&mut self, kind: TokenKind, room: &RoomKey, member: MemberId) -> Token {
        self.made += 1;
        let mut context = hmac::Context::with_key(&self.secret.0);
        context.update(&(self.shard.0 as u64).to_le_bytes());
        context.update(&self.made.to_le_bytes());
        context.update(&[kind as u8]);
        context.update(&member.0.to_le_bytes());
        context.update(&(room.room_type.len() as u64).to_le_bytes());
        context.update(room.room_type.as_bytes());
        context.update(room.room.as_bytes());
        Token::of(context)
    }

    /// The token that brings a member back to its seat, the same whenever it is asked for.
    #[must_use]
    pub fn for_return(&self, binding: &Binding<'_>) -> Token {
        let mut context = hmac::Context::with_key(&self.secret.0);
        context.update(FOR_RETURN);
        context.update(&(self.shard.0 as u64).to_le_bytes());
        context.update(&binding.room.index.to_le_bytes());
        context.update(&binding.room.generation.to_le_bytes());
        context.update(&binding.member.0.to_le_bytes());
        context.update(&binding.listener.0.to_le_bytes());
        context.update(&binding.returns.to_le_bytes());
        // Last, because the others have a length of their own.
        context.update(binding.subject);
        Token::of(context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(room: &str) -> RoomKey {
        RoomKey::parse("arena", room).expect("a name")
    }

    #[test]
    fn no_two_tokens_are_the_same_whatever_they_are_for() {
        let mut seen = BTreeSet::new();
        for (secret, shard) in [(1, 0), (1, 1), (2, 0)] {
            let mut tokens = Tokens::new(Secret::new([secret; 32]), ShardIndex(shard));
            for _ in 0..2 {
                for kind in [TokenKind::Seat, TokenKind::Draw] {
                    for member in [MemberId::SERVER, MemberId(7)] {
                        for room in [key("a"), key("b")] {
                            seen.insert(*tokens.next(kind, &room, member).bytes());
                        }
                    }
                }
            }
        }
        assert_eq!(seen.len(), 3 * 16);
    }

    #[test]
    fn the_same_secret_makes_the_same_tokens_again() {
        let first = |secret| {
            let mut tokens = Tokens::new(Secret::new([secret; 32]), ShardIndex(0));
            *tokens.next(TokenKind::Seat, &key("a"), MemberId::SERVER).bytes()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn only_its_own_bytes_match_a_token() {
        let mut tokens = Tokens::new(Secret::new([1; 32]), ShardIndex(0));
        let token = tokens.next(TokenKind::Seat, &key("a"), MemberId(1));
        let bytes = *token.bytes();
        assert!(token.matches(&bytes));
        for at in 0..bytes.len() {
            let mut near = bytes;
            near[at] ^= 1;
            assert!(!token.matches(&near), "byte {at}");
        }
        assert!(!token.matches(&bytes[1..]));
        assert!(!token.matches(&[&bytes[..], &[0]].concat()));
        assert!(!token.matches(&[]));
    }

    #[test]
    fn a_token_for_coming_back_is_for_one_return_of_one_member_of_one_room() {
        let tokens = |secret, shard| Tokens::new(Secret::new([secret; 32]), ShardIndex(shard));
        let room = RoomId { index: 1, generation: 2 };
        let (member, listener, returns) = (MemberId(3), Listener(4), 5);
        let own = Binding { room, member, listener, returns, subject: b"ann" };
        let token = *tokens(1, 0).for_return(&own).bytes();
        assert!(tokens(1, 0).for_return(&own).matches(&token), "it is the same again");
        assert!(!tokens(2, 0).for_return(&own).matches(&token), "another server's");
        assert!(!tokens(1, 1).for_return(&own).matches(&token), "another shard's");
        for other in [
            Binding { room: RoomId { index: 2, ..room }, ..own },
            Binding { room: RoomId { generation: 3, ..room }, ..own },
            Binding { member: MemberId(4), ..own },
            Binding { listener: Listener(5), ..own },
            Binding { returns: 6, ..own },
            Binding { subject: b"bob", ..own },
            Binding { subject: b"", ..own },
        ] {
            assert!(!tokens(1, 0).for_return(&other).matches(&token), "{other:?}");
        }
    }

    #[test]
    fn logs_show_neither_secrets_nor_tokens() {
        let secret = Secret::new([0xab; 32]);
        let mut tokens = Tokens::new(secret.clone(), ShardIndex(0));
        let token = tokens.next(TokenKind::Seat, &key("a"), MemberId::SERVER);
        assert_eq!(format!("{secret:?} {token:?}"), "Secret(..) Token(..)");
    }
}
