//! Which of a room's ticks are sent: those that a client must have had, or been moved past.

use tickloom_protocol::ids::Tick;
use tickloom_protocol::server_message::RoomClock;

/// From this `load_level` on a server that cannot keep up sends state half as often (section 11 of
/// the protocol).
const HALVES_FROM: u8 = 2;

/// Ticks from one send of a room to the next while its server leaves out so much. A room without a
/// rate has fewer ticks then, and sends each of them.
pub(super) fn interval(clock: &RoomClock, load_level: u8) -> u32 {
    let halves = load_level >= HALVES_FROM && clock.tick_us > 0;
    u32::from(clock.send_every.max(1)) * if halves { 2 } else { 1 }
}

/// Sends after `from` up to `until`, where states of these load levels came. Between two levels
/// only the ticks that are sent at both are sure to be.
pub(super) fn between(
    clock: &RoomClock,
    (from, level_before): (Tick, u8),
    (until, level): (Tick, u8),
) -> u32 {
    let interval = interval(clock, level_before.max(level));
    (until.0 / interval).saturating_sub(from.0 / interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::time::Timestamp;

    #[test]
    fn a_server_that_halves_its_sends_leaves_out_every_other_of_them() {
        for (name, tick_us, send_every, before, after, expected) in [
            ("each tick", 50_000, 1, (4, 0), (9, 0), 5),
            ("far cells only", 50_000, 1, (4, 1), (9, 1), 5),
            ("halved", 50_000, 1, (4, 2), (6, 2), 1),
            ("halved, one missing", 50_000, 1, (4, 3), (8, 3), 2),
            ("from now on", 50_000, 1, (5, 0), (6, 2), 1),
            ("from now on, one missing", 50_000, 1, (5, 0), (8, 2), 2),
            ("no longer", 50_000, 1, (6, 2), (7, 1), 0),
            ("every third tick", 50_000, 3, (3, 0), (9, 0), 2),
            ("every third, halved", 50_000, 3, (6, 4), (12, 4), 1),
            ("joined between two", 50_000, 3, (4, 0), (6, 0), 1),
            ("without a rate", 0, 1, (4, 4), (6, 4), 2),
        ] {
            let clock = RoomClock { epoch: Timestamp(0), tick_us, send_every };
            let side = |(tick, level)| (Tick(tick), level);
            assert_eq!(between(&clock, side(before), side(after)), expected, "{name}");
        }
    }
}
