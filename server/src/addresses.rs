//! How many connections each address has, how many seats are kept for connections of it that
//! broke, and how often it comes, over all shards: what one shard sees is a part, because the kernel
//! spreads the connections of an address over all of them.
//!
//! A fixed table of atomic words that nobody waits for: a count-min sketch (Cormode and
//! Muthukrishnan, 2005) of two rows. An address has one place in each row, and the lesser of the
//! two is what it is taken to have; others that share a place can only make that too much, and
//! must share both to make a difference. The hash is SipHash with keys of this process, so nobody
//! can look for addresses that share places with a victim.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tickloom_protocol::time::Timestamp;

use crate::proxies::Networks;
use crate::rate::{Bucket, Rate};

/// Places in a row. With as many addresses as places, one in three has another one's connections
/// added to its own in a row, one in seven in both.
const PLACES: usize = 16 * 1024;

const ROWS: usize = 2;

/// What one address may do. `None` is without a limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressLimits {
    /// Addresses that are not counted.
    pub exempt: Networks,
    /// Connections at the same time, and as many seats that are kept for those that broke.
    pub connections_max: Option<u32>,
    /// New connections.
    pub handshakes: Option<Rate>,
    /// Rooms made for its connections.
    pub rooms: Option<Rate>,
}

/// The table.
#[derive(Debug)]
pub struct Addresses {
    keys: RandomState,
    connections: Rows<AtomicU32>,
    absences: Rows<AtomicU32>,
    handshakes: Rows<AtomicU64>,
    rooms: Rows<AtomicU64>,
}

type Rows<T> = [Box<[T]>; ROWS];

/// What an address has for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// A connection.
    Connection,
    /// A seat whose connection broke.
    Absence,
}

/// One of what an address has. Dropping it is the end of that, wherever the session ended up that
/// had it.
#[derive(Debug)]
pub struct Counted {
    table: Arc<Addresses>,
    what: Held,
    places: [u16; ROWS],
}

impl Drop for Counted {
    fn drop(&mut self) {
        for (row, place) in self.table.held(self.what).iter().zip(self.places) {
            row[usize::from(place)].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            keys: RandomState::new(),
            connections: rows(),
            absences: rows(),
            handshakes: rows(),
            rooms: rows(),
        }
    }
}

fn rows<T: Default>() -> Rows<T> {
    std::array::from_fn(|_| (0..PLACES).map(|_| T::default()).collect())
}

impl Addresses {
    /// Counts what an address has, unless it has as many of it as it may.
    #[must_use]
    pub fn count(self: &Arc<Self>, what: Held, address: IpAddr, max: u32) -> Option<Counted> {
        let places = self.places(address);
        let words = self.held(what).iter().zip(places);
        let before =
            words.map(|(row, place)| row[usize::from(place)].fetch_add(1, Ordering::Relaxed));
        let others = before.min().unwrap_or(0);
        // Dropped when it is one too many.
        let counted = Counted { table: Arc::clone(self), what, places };
        (others < max).then_some(counted)
    }

    fn held(&self, what: Held) -> &Rows<AtomicU32> {
        match what {
            Held::Connection => &self.connections,
            Held::Absence => &self.absences,
        }
    }

    /// Counts a new connection if its address may have one now; says whether it may.
    pub fn take_handshake(&self, now: Timestamp, address: IpAddr, rate: Rate) -> bool {
        take(&self.handshakes, self.places(address), now, rate)
    }

    /// Counts a new room if a client of this address may have one now; says whether it may.
    pub fn take_room(&self, now: Timestamp, address: IpAddr, rate: Rate) -> bool {
        take(&self.rooms, self.places(address), now, rate)
    }

    /// Connections that are counted now, of all addresses.
    #[must_use]
    pub fn connections_count(&self) -> u64 {
        self.connections[0].iter().map(|word| u64::from(word.load(Ordering::Relaxed))).sum()
    }

    /// Where an address is in each row. Whoever has one IPv6 address has the 64 bits behind its
    /// network, too, so the network is what counts.
    fn places(&self, address: IpAddr) -> [u16; ROWS] {
        let hash = match address.to_canonical() {
            IpAddr::V4(address) => self.keys.hash_one((4_u8, u64::from(u32::from(address)))),
            IpAddr::V6(address) => self.keys.hash_one((6_u8, (u128::from(address) >> 64) as u64)),
        };
        std::array::from_fn(|row| ((hash >> (32 * row)) as usize % PLACES) as u16)
    }
}

/// Raises all places to where the lowest one goes. Of two shards that do so at once one may go
/// uncounted, which lets one connection more in.
fn take(rows: &Rows<AtomicU64>, places: [u16; ROWS], now: Timestamp, rate: Rate) -> bool {
    let words = || rows.iter().zip(places).map(|(row, place)| &row[usize::from(place)]);
    let lowest = words().map(|word| word.load(Ordering::Relaxed)).min().unwrap_or(0);
    let mut bucket = Bucket::from_word(lowest);
    let has_room = bucket.take(now, rate);
    if has_room {
        words().for_each(|word| {
            word.fetch_max(bucket.to_word(), Ordering::Relaxed);
        });
    }
    has_room
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_connections_and_each_end_makes_room() {
        let table = Arc::new(Addresses::default());
        let one = address("192.0.2.1");
        let mut held: Vec<Counted> =
            (0..3).filter_map(|_| table.count(Held::Connection, one, 3)).collect();
        assert_eq!((held.len(), table.connections_count()), (3, 3));
        assert!(table.count(Held::Connection, one, 3).is_none());
        assert_eq!(table.connections_count(), 3, "a refused one is not counted");
        assert!(
            table.count(Held::Connection, address("192.0.2.2"), 3).is_some(),
            "others have room of their own"
        );
        held.pop();
        assert!(table.count(Held::Connection, one, 3).is_some());
        held.clear();
        assert_eq!(table.connections_count(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_is_itself_in_any_clothes() {
        let table = Addresses::default();
        for (left, right, same) in [
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.1", "0:0:0:1::", false),
        ] {
            let places = [left, right].map(|text| table.places(address(text)));
            assert_eq!(places[0] == places[1], same, "{left} {right}");
        }
    }

    #[test]
    fn others_take_room_only_where_both_rows_collide() {
        let table = Arc::new(Addresses::default());
        // A crowd of half as many addresses as there are places, with a connection each.
        let crowd: Vec<Counted> = (0..PLACES as u32 / 2)
            .filter_map(|number| table.count(Held::Connection, Ipv4Addr::from(number).into(), 200))
            .collect();
        assert_eq!(crowd.len(), PLACES / 2);
        let newcomers = (0..1_000).map(|number| Ipv4Addr::from(0xc000_0000 + number).into());
        let hindered = newcomers
            .filter(|address| table.count(Held::Connection, *address, 1).is_none())
            .count();
        // Two rows of which 39 % is taken: one in seven.
        assert!((90..230).contains(&hindered), "{hindered} of 1,000");
    }

    #[test]
    fn handshakes_and_rooms_have_rates_of_their_own() {
        let table = Addresses::default();
        let (one, rate) = (address("192.0.2.1"), Rate::new(10, 5));
        let at = |millis: u64| Timestamp(1_000_000 + millis * 1_000);
        let count =
            |now, address| (0..20).filter(|_| table.take_handshake(now, address, rate)).count();
        assert_eq!(count(at(0), one), 5);
        assert_eq!(count(at(0), address("192.0.2.2")), 5);
        assert_eq!(count(at(200), one), 2);
        assert!(table.take_room(at(200), one, rate));
    }

    #[test]
    fn shards_that_count_at_once_lose_nothing() {
        let table = Arc::new(Addresses::default());
        let one = address("192.0.2.1");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let held: Vec<_> =
                            (0..8).map(|_| table.count(Held::Connection, one, 16)).collect();
                        assert!(held.iter().flatten().count() <= 8);
                        assert!(table.connections_count() <= 4 * 8, "no more than there are");
                    }
                });
            }
        });
        assert_eq!(table.connections_count(), 0);
    }
}
