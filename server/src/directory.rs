//! Which shard owns a room: a pure function, so that shards agree without talking.

use std::hash::{DefaultHasher, Hash, Hasher};

use tickloom_protocol::ids::RoomKey;

/// One pinned thread's world, by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardIndex(pub usize);

/// Room to shard. Every shard holds an equal copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directory {
    shards_count: usize,
    /// Clients choose room names; an unknown seed keeps them from choosing a shard.
    seed: u64,
}

impl Directory {
    /// A directory over `shards_count` shards, at least one.
    #[must_use]
    pub fn new(shards_count: usize, seed: u64) -> Self {
        Self { shards_count: shards_count.max(1), seed }
    }

    /// The shard that owns a room.
    #[must_use]
    pub fn shard_of(&self, key: &RoomKey) -> ShardIndex {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        key.hash(&mut hasher);
        ShardIndex((hasher.finish() % self.shards_count as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_spread_over_shards_and_stay_where_they_are() {
        let directory = Directory::new(4, 7);
        let mut rooms_count = [0; 4];
        for room in 0..1000 {
            let key = RoomKey::parse("arena", &format!("room-{room}")).expect("a name");
            let shard = directory.shard_of(&key);
            assert_eq!(shard, directory.shard_of(&key));
            rooms_count[shard.0] += 1;
        }
        assert!(rooms_count.iter().all(|count| (200..300).contains(count)), "{rooms_count:?}");
    }
}
