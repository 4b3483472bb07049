//! Compressed frames: made once, for everybody who is to be sent the same.
//!
//! ```text
//! members with the same head and no private chunks --> one variant
//!   those that have had every frame of the room's window  --> its next frame, compressed once
//!   other members that inflate                             --> one frame without a past
//!   the rest, and where it does not pay                    --> the plain frame
//! ```
//!
//! A member can inflate a frame of the shared window exactly when its own window holds the same:
//! all frames of it since the last reset, and no other compressed ones. Plain frames touch
//! nothing. So whoever is passed over, gets another variant, or a frame without a past, is out of
//! step until the next reset, after which everybody can follow. A reset costs the bytes that the
//! past would have saved: those who come get one at once, those who fell out of step now and then.

use std::rc::Rc;

use tickloom_protocol::deflate::{Compressor, Compressors, Kind, Sender, WINDOW_BITS_MAX};
use tickloom_protocol::ids::{InputSeq, OpId};

use crate::room::broadcast::Piece;

/// Frames of a window after which it is reset for those that fell out of step.
const FRAMES_PER_RESET_MIN: u64 = 64;

/// Different frames that are compressed for one room in one tick. In a room where each member's
/// frame differs, compressing would cost more than everything else.
pub(super) const VARIANTS_MAX: usize = 4;

/// What a shard compresses with.
#[derive(Debug, Default)]
pub struct Packer {
    /// Shorter messages are sent plain.
    bytes_min: usize,
    windows_max: usize,
    /// Held by every window of a room.
    permit: Rc<()>,
    pub(super) single: Compressors,
    /// A compressed frame.
    pub(super) frame: Vec<u8>,
}

impl Packer {
    /// Compresses messages of at least this many bytes, for so many rooms with a window.
    pub(super) fn new(bytes_min: usize, windows_max: usize) -> Self {
        Self { bytes_min, windows_max, single: Compressors::new(bytes_min), ..Self::default() }
    }

    /// Rooms that have a window.
    fn windows_count(&self) -> usize {
        Rc::strong_count(&self.permit) - 1
    }
}

/// What the frames of a room may refer to: what went out before. It takes 380 KiB once there is
/// something in it.
#[derive(Debug, Default)]
pub struct SharedWindow {
    compressor: Option<(Box<Compressor>, Rc<()>)>,
    /// Frames so far. A member is in step when it has had all of them since the last reset.
    frames: u64,
    /// What `frames` was at the last reset.
    reset_at: u64,
}

/// How a member takes compressed frames.
#[derive(Clone, Copy, Debug)]
pub struct MemberWindow {
    /// What was agreed on with it.
    sender: Sender,
    /// The number of the last frame of the room's window that it has, when it is in step.
    /// [`NEWCOMER`] before its first one, [`ASTRAY`] when it was sent another compressed frame.
    has: u64,
}

/// Comes before every frame.
const NEWCOMER: u64 = 0;

/// Comes behind every frame.
const ASTRAY: u64 = u64::MAX;

impl MemberWindow {
    /// The window of somebody who was sent nothing compressed, or nothing that was not forgotten.
    #[must_use]
    pub fn new(sender: Sender) -> Self {
        Self { sender, has: NEWCOMER }
    }

    /// Whether it can have a part in a room's window. A smaller one of its own would forget what
    /// frames still refer to.
    fn shares(&self) -> bool {
        self.sender.keeps_context && self.sender.window_bits() == WINDOW_BITS_MAX
    }

    /// It was sent a compressed frame: the last one of the room's window, or one without a past.
    pub(super) fn note(&mut self, follows: bool, window: &SharedWindow) {
        self.has = match (follows, self.has) {
            (true, _) => window.frames,
            (false, NEWCOMER) => NEWCOMER,
            (false, _) => ASTRAY,
        };
    }
}

/// Members of one broadcast that are to be sent the same.
#[derive(Debug)]
pub(super) struct Variant {
    /// Which shared chunks, and what else the frame says. Absent when it also has private chunks:
    /// then it is one member's.
    pub likeness: Option<Likeness>,
    /// Whether it goes on from the broadcast before.
    pub is_delta: bool,
    /// The first of its parcels, which are alike.
    pub parcel: usize,
    /// The plain frame's.
    pub bytes: usize,
    /// Members that share the room's window: those in step, those that never were, all.
    in_step: usize,
    newcomers: usize,
    sharers: usize,
    /// Who gets the frame of the room's window.
    audience: Audience,
    /// The least window of those that get a frame without a past.
    single_bits_min: Option<u8>,
    /// The frame without a past, and that of the room's window.
    pub frames: [Option<Piece>; 2],
}

/// What makes two frames the same: shared chunks, acknowledgement, margin, and what was answered.
pub(super) type Likeness = (usize, InputSeq, i8, OpId);

/// Who gets the frame of the room's window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Audience {
    Nobody,
    /// Sharers that are in step.
    InStep,
    /// All sharers: it was reset.
    Sharers,
}

impl Variant {
    pub fn new(likeness: Option<Likeness>, is_delta: bool, parcel: usize, bytes: usize) -> Self {
        Self {
            likeness,
            is_delta,
            parcel,
            bytes,
            in_step: 0,
            newcomers: 0,
            sharers: 0,
            audience: Audience::Nobody,
            single_bits_min: None,
            frames: [None, None],
        }
    }

    /// Counts one of its members.
    pub fn add(&mut self, member: &MemberWindow, window: &SharedWindow) {
        if member.shares() {
            self.sharers += 1;
            self.in_step += usize::from(window.is_in_step(member));
            self.newcomers += usize::from(member.has == NEWCOMER);
        }
    }

    /// Whether one of its members gets the frame of the room's window, which is not made yet.
    pub fn is_for(&self, member: &MemberWindow, window: &SharedWindow) -> bool {
        match self.audience {
            Audience::Nobody => false,
            Audience::InStep => window.is_in_step(member),
            Audience::Sharers => member.shares(),
        }
    }

    /// Notes a member that gets a frame without a past.
    pub fn add_single(&mut self, member: &MemberWindow) {
        let bits = member.sender.window_bits();
        self.single_bits_min = Some(self.single_bits_min.map_or(bits, |min| min.min(bits)));
    }

    /// Makes the next frame of the room's window, if it is for somebody.
    pub fn pack_shared(
        &self,
        window: &mut SharedWindow,
        resets: bool,
        pieces: &[&[u8]],
        frame: &mut Vec<u8>,
    ) -> bool {
        self.audience != Audience::Nobody && window.compress(resets, pieces, frame)
    }

    /// Makes the frame without a past, if it is for somebody and worth it.
    pub fn pack_single(
        &self,
        compressors: &mut Compressors,
        pieces: &[&[u8]],
        frame: &mut Vec<u8>,
    ) -> bool {
        let Some(bits) = self.single_bits_min else { return false };
        compressors.put_frame(bits, Kind::Binary, pieces, frame)
    }
}

impl SharedWindow {
    fn is_in_step(&self, member: &MemberWindow) -> bool {
        self.frames > 0 && member.has == self.frames
    }

    /// Decides which variant is the next frame of the window, and who gets it. Says whether the
    /// window begins anew for it.
    pub(super) fn choose(&mut self, variants: &mut [Variant], packer: &Packer) -> bool {
        let wanted = variants.iter_mut().filter(|variant| variant.sharers > 0);
        // Those who keep up go first: a snapshot is for few, and the next tick is for all.
        let Some(variant) = wanted.max_by_key(|variant| (variant.is_delta, variant.sharers)) else {
            return false;
        };
        if variant.bytes < packer.bytes_min || !self.open(packer) {
            return false;
        }
        let strays = variant.sharers - variant.in_step - variant.newcomers;
        let is_old = self.frames - self.reset_at >= FRAMES_PER_RESET_MIN;
        let resets = variant.in_step == 0 || variant.newcomers > 0 || (strays > 0 && is_old);
        variant.audience = if resets { Audience::Sharers } else { Audience::InStep };
        resets
    }

    /// Whether there is a compressor, or a place for one.
    fn open(&mut self, packer: &Packer) -> bool {
        if self.compressor.is_none() && packer.windows_count() < packer.windows_max {
            let compressor = Box::new(Compressor::new(WINDOW_BITS_MAX));
            self.compressor = Some((compressor, Rc::clone(&packer.permit)));
        }
        self.compressor.is_some()
    }

    /// Appends its next frame, if it has a compressor.
    fn compress(&mut self, resets: bool, pieces: &[&[u8]], frame: &mut Vec<u8>) -> bool {
        let Some((compressor, _)) = &mut self.compressor else { return false };
        if resets {
            compressor.reset();
            self.reset_at = self.frames;
        }
        compressor.put_frame(Kind::Binary, pieces, frame);
        self.frames += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES_OVER: Sender = Sender { keeps_context: true, max_window_bits: None };

    #[test]
    fn whoever_got_another_compressed_frame_is_out_of_step_until_the_next_reset() {
        let packer = Packer::new(0, 1);
        let mut window = SharedWindow::default();
        let mut members = [MemberWindow::new(TAKES_OVER); 3];
        let send = |window: &mut SharedWindow, members: &mut [MemberWindow]| {
            let mut variant = Variant::new(None, true, 0, 100);
            members.iter().for_each(|member| variant.add(member, window));
            let mut variants = [variant];
            let resets = window.choose(&mut variants, &packer);
            let follow: Vec<bool> =
                members.iter().map(|member| variants[0].is_for(member, window)).collect();
            assert!(variants[0].pack_shared(window, resets, &[b"text"], &mut Vec::new()));
            for (member, follows) in members.iter_mut().zip(&follow) {
                member.note(*follows, window);
            }
            (resets, follow)
        };
        assert_eq!(send(&mut window, &mut members[..2]), (true, vec![true, true]));
        assert_eq!(send(&mut window, &mut members[..2]), (false, vec![true, true]));
        // A frame without a past, while the window stands still; a newcomer stays one.
        members[0].note(false, &window);
        members[2].note(false, &window);
        assert_eq!(send(&mut window, &mut members[..2]), (false, vec![false, true]));
        assert_eq!(send(&mut window, &mut members), (true, vec![true, true, true]));
        // Passed over: another one goes on alone, and takes it along in time.
        send(&mut window, &mut members[1..]);
        let resets = (0..100).map(|_| send(&mut window, &mut members).0);
        let frames_until = resets.take_while(|resets| !resets).count() as u64;
        assert_eq!(frames_until, FRAMES_PER_RESET_MIN - 2);
    }

    #[test]
    fn small_windows_and_forgetful_members_share_nothing() {
        for (keeps_context, max_window_bits, shares) in [
            (true, None, true),
            (true, Some(15), true),
            (true, Some(14), false),
            (false, None, false),
        ] {
            let member = MemberWindow::new(Sender { keeps_context, max_window_bits });
            assert_eq!(member.shares(), shares, "{keeps_context} {max_window_bits:?}");
        }
    }

    #[test]
    fn windows_are_as_many_as_there_may_be() {
        let packer = Packer::new(0, 2);
        let mut windows = [(); 3].map(|()| SharedWindow::default());
        let opened = |windows: &mut [SharedWindow]| -> Vec<bool> {
            windows.iter_mut().map(|window| window.open(&packer)).collect()
        };
        assert_eq!(opened(&mut windows), [true, true, false]);
        windows[0] = SharedWindow::default();
        assert_eq!(opened(&mut windows[1..]), [true, true], "a place is free again");
    }
}
