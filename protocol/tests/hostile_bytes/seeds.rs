//! Seeds, and what they do to bytes.

use std::{env, thread};

use fastrand::Rng;

pub const SEEDS_DEFAULT: u64 = 1000;

/// Prints the seed while a failed assertion unwinds through it.
pub struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("seed={} (replay with HOSTILE_SEED={})", self.0, self.0);
        }
    }
}

pub fn number_from_env(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

pub fn for_each_seed(mut check: impl FnMut(&mut Rng)) {
    let seeds = match number_from_env("HOSTILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_env("HOSTILE_SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    for seed in seeds {
        let seed = Seed(seed);
        check(&mut Rng::with_seed(seed.0));
    }
}

pub fn random_bytes(rng: &mut Rng, length_max: usize) -> Vec<u8> {
    let length = rng.usize(..=length_max);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// One of `valid`, damaged in up to three ways.
pub fn mutated(rng: &mut Rng, valid: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.choice(valid).expect("a corpus").clone();
    for _ in 0..rng.usize(0..=3) {
        damage(rng, &mut bytes, valid);
    }
    bytes
}

pub fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, valid: &[Vec<u8>]) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.usize(..bytes.len());
    match rng.u8(0..8) {
        0 => *bytes = random_bytes(rng, 300),
        1 => bytes.truncate(at),
        2 => bytes[at] ^= 1 << rng.u8(0..8),
        3 => bytes[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]).expect("six"),
        4 => {
            let words = [0, 1, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX];
            let word = rng.choice(&words).expect("seven").to_le_bytes();
            let end = bytes.len().min(at + 4);
            bytes[at..end].copy_from_slice(&word[..end - at]);
        }
        5 => {
            let piece = random_bytes(rng, 8);
            bytes.splice(at..at, piece);
        }
        6 => {
            bytes.remove(at);
        }
        _ => {
            let other = rng.choice(valid).expect("a corpus");
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
    }
}

/// Cuts `bytes` into pieces at random places.
pub fn pieces<'a>(rng: &mut Rng, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let piece_max = *rng.choice(&[1, 7, 200, usize::MAX]).expect("four");
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(rng.usize(1..=bytes.len().min(piece_max)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
