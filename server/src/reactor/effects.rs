//! What the reactor does when its shard asks for something.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

use std::net::Shutdown;

use mio::Interest;
use mio::net::TcpStream;
use tickloom_protocol::time::Timestamp;

use crate::http::{Arrival, HandOver};
use crate::mail::Mail;
use crate::mailbox::Letter;
use crate::reactor::{Reactor, socket_mut, token_of};
use crate::recording::Piece;
use crate::session::{Reads, SessionId};
use crate::shard::Effect;

impl Reactor {
    /// Does what the shard asks for; says whether that was anything. A session that left the
    /// shard's table has left its index to the next one, so its socket must go before another
    /// comes: this follows everything that may end or move a session.
    pub(super) fn obey_all(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        loop {
            while let Some(effect) = self.shard.poll_effect() {
                self.obey(now, effect);
                any = true;
            }
            if let Some(letter) = self.undelivered.pop() {
                self.take_back(now, letter);
            } else if let Some(arrival) = self.not_taken.pop() {
                let id = self.shard.handle_handed_back(now, arrival.hand_over);
                self.add_socket(now, id, TcpStream::from_std(arrival.stream));
            } else {
                return any;
            }
        }
    }

    fn obey(&mut self, now: Timestamp, effect: Effect) {
        match effect {
            Effect::Read(id, reads) => {
                if let Some(socket) = socket_mut(&mut self.sockets, id) {
                    socket.is_paused = reads == Reads::Later;
                    let interest = match reads {
                        Reads::OnArrival => Interest::READABLE | Interest::WRITABLE,
                        // Its end and its errors are reported all the same.
                        Reads::OnTurn | Reads::Later => Interest::WRITABLE,
                    };
                    let registry = self.poll.registry();
                    if registry.reregister(&mut socket.stream, token_of(id), interest).is_err() {
                        self.shard.handle_broken(now, id);
                    }
                }
            }
            Effect::ShutDown(id) => {
                if let Some(socket) = socket_mut(&mut self.sockets, id) {
                    // Fails when the other end is gone, which its own event will tell.
                    let _ = socket.stream.shutdown(Shutdown::Write);
                }
            }
            Effect::Close(id) => drop(self.take_socket(id)),
            Effect::Record(record) => {
                if let Some(failures) = &self.failures {
                    failures.send(record);
                }
            }
            Effect::Recording(piece) => self.keep(piece),
            Effect::Deliver { socket: id, to, mail } => {
                let socket = self.let_go(id);
                if let Err(letter) = self.mailboxes[to.0].send(Letter { mail, socket }) {
                    self.undelivered.push(*letter);
                }
            }
            Effect::HandOver { socket: id, hand_over } => self.hand_over(id, hand_over),
        }
    }

    /// Has a piece of a recording written, and hears which recordings cannot go on.
    fn keep(&mut self, piece: Box<Piece>) {
        let Some(recordings) = &mut self.recordings else { return };
        let room = piece.room;
        if let Err(why) = recordings.send(piece) {
            self.shard.handle_recording_stopped(room, &why);
        }
        while let Some((room, why)) = recordings.poll_stopped() {
            self.shard.handle_recording_stopped(room, &why);
        }
    }

    /// A letter could not be delivered: its session stays here, to be told so.
    pub(super) fn take_back(&mut self, now: Timestamp, letter: Letter) {
        let (Mail::Adopt(session) | Mail::Returned(session)) = letter.mail else { return };
        let mail = Mail::Returned(session);
        if let (Some(id), Some(stream)) = (self.shard.handle_mail(now, mail), letter.socket) {
            self.add_socket(now, id, stream);
        }
    }

    /// Gives a connection to the HTTP thread; when that does not take it, it is told so here.
    fn hand_over(&mut self, id: SessionId, hand_over: HandOver) {
        let Some(stream) = self.let_go(id) else { return };
        let shard = self.shard.config().index;
        let arrival = Arrival { hand_over, stream: stream.into(), shard };
        self.not_taken.extend(self.http.send(arrival).err().map(|arrival| *arrival));
    }
}
