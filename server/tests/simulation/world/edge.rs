//! What the edge does in the simulation: it moves bytes, mail and sockets as a reactor would, in
//! an order that the seed chooses.

use super::*;

impl World {
    pub(super) fn move_bytes(&mut self) {
        self.deliver_letters();
        self.haunt();
        let mut numbers: Vec<usize> = self.connections.keys().copied().collect();
        self.rng.shuffle(&mut numbers);
        for number in numbers {
            self.client_side(number);
            let waits = |c: &Connection| c.reads != Reads::OnArrival && !c.was_reset;
            if !self.connections.get(&number).is_some_and(waits) {
                self.server_side(number);
            }
        }
        for index in 0..self.shards.len() {
            self.obey(ShardIndex(index));
        }
    }

    fn client_side(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        while let Some(piece) = connection.down.receive(self.now) {
            if connection.client_gone {
                continue;
            }
            let said = match &mut connection.tls {
                None => piece,
                Some(tls) => tls.hear(&piece, matches!(connection.peer, Peer::Honest(_))),
            };
            if let Peer::Honest(honest) = &mut connection.peer
                && !honest.handle_bytes(&said, &mut self.truth, &mut self.outcome)
            {
                connection.client_gone = true;
                connection.up.ended = true;
                if honest.room_failed {
                    return self.part(number);
                }
            }
        }
        if !connection.up.ended {
            let mut output = match &mut connection.peer {
                Peer::Honest(honest) => honest.client.take_output(),
                Peer::Hostile | Peer::Nobody => Vec::new(),
            };
            if let Some(tls) = &mut connection.tls {
                tls.say(&output);
                output = tls.take_output();
            }
            if !output.is_empty() {
                connection.up.send(self.now, &output, &mut self.rng);
            }
        }
        if connection.down.ended && connection.down.is_empty() {
            connection.client_gone = true;
            connection.up.ended = true;
        }
        // The client has read: there may be room for more.
        if let Some((shard, id)) = connection.socket {
            self.shards[shard.0].list_for_flush(id);
        }
    }

    pub(super) fn server_side(&mut self, number: usize) {
        while let Some(connection) = self.connections.get_mut(&number) {
            let Some((shard, id)) = connection.socket else { return };
            if connection.reads == Reads::Later && !connection.was_reset {
                return;
            }
            let piece = if connection.was_reset { None } else { connection.up.receive(self.now) };
            let Some(piece) = piece else {
                if connection.was_reset {
                    self.shards[shard.0].handle_broken(self.now, id);
                } else if connection.up.ended && connection.up.is_empty() {
                    self.shards[shard.0].handle_disconnect(self.now, id);
                }
                self.obey(shard);
                return;
            };
            self.shards[shard.0].handle_bytes(self.now, id, &piece);
            // A move to another shard takes the socket away before the next piece.
            self.obey(shard);
        }
    }

    pub(super) fn obey(&mut self, index: ShardIndex) {
        let mut handed_back = Vec::new();
        loop {
            while let Some(id) = self.shards[index.0].poll_flush() {
                self.flush(index, id);
            }
            let Some(effect) = self.shards[index.0].poll_effect() else {
                // Whoever comes may get the index of somebody whose socket had to go first.
                let Some((number, hand_over)) = handed_back.pop() else { return };
                let id = self.shards[index.0].handle_handed_back(self.now, hand_over);
                self.connections.get_mut(&number).expect("found").socket = Some((index, id));
                continue;
            };
            match effect {
                Effect::ShutDown(id) => {
                    if let Some(number) = self.find(index, id) {
                        self.connections.get_mut(&number).expect("found").down.ended = true;
                    }
                }
                Effect::Close(id) => self.close_socket(index, id),
                Effect::Recording(piece) => self.recordings.write(index, &piece),
                Effect::Record(record) => {
                    assert_eq!(record.panicked.message, fuse::MESSAGE, "{record:?}");
                }
                Effect::Read(id, reads) => {
                    if let Some(number) = self.find(index, id) {
                        self.connections.get_mut(&number).expect("found").reads = reads;
                    }
                }
                Effect::Deliver { socket, to, mail } => {
                    let number = self.find(index, socket).expect("a session has a connection");
                    self.connections.get_mut(&number).expect("found").socket = None;
                    let at = self.now + Duration::from_micros(self.rng.u64(0..3_000));
                    let at = self.letters.back().map_or(at, |letter| letter.at.max(at));
                    self.letters.push_back(Letter { at, to, mail, connection: number });
                    self.outcome.moves_between_shards += 1;
                }
                Effect::HandOver { socket, hand_over } => {
                    handed_back.extend(self.hand_over(index, socket, hand_over));
                }
            }
        }
    }

    /// The HTTP thread answers and closes, takes it not, or gives it back for an upgrade.
    fn hand_over(
        &mut self,
        index: ShardIndex,
        socket: SessionId,
        hand_over: HandOver,
    ) -> Option<(usize, HandOver)> {
        let number = self.find(index, socket).expect("a session has a connection");
        self.outcome.handed_over += 1;
        match hand_over.bytes.len() % 3 {
            0 => self.close_socket(index, socket),
            1 => {
                self.connections.get_mut(&number).expect("found").socket = None;
                return Some((number, hand_over));
            }
            _ => {
                self.connections.get_mut(&number).expect("found").socket = None;
                let bytes = ClientKey::new([0; 16]).request("sim", "/ws");
                let mail = Mail::Upgrade(HandOver { bytes, ..hand_over });
                let at = self.letters.back().map_or(self.now, |letter| letter.at.max(self.now));
                self.letters.push_back(Letter { at, to: index, mail, connection: number });
            }
        }
        None
    }

    fn deliver_letters(&mut self) {
        while self.letters.front().is_some_and(|letter| letter.at <= self.now) {
            let letter = self.letters.pop_front().expect("checked");
            let shard = &mut self.shards[letter.to.0];
            let id = shard.handle_mail(self.now, letter.mail).expect("an adopted session");
            let connection = self.connections.get_mut(&letter.connection).expect("travels");
            connection.socket = Some((letter.to, id));
            self.obey(letter.to);
        }
    }

    fn flush(&mut self, index: ShardIndex, id: SessionId) {
        let Some(number) = self.find(index, id) else { return };
        let connection = self.connections.get_mut(&number).expect("found");
        if self.encryption.is_some() {
            return self.flush_encrypted(index, id, number);
        }
        let outbox = self.shards[index.0].outbox(id).expect("a session has an outbox");
        let mut buffer = vec![0; connection.down.window().min(outbox.bytes())];
        let copied = outbox.copy_front(&mut buffer);
        let whole = connection.at_frame_border && copied == outbox.bytes();
        connection.at_frame_border = copied == outbox.bytes();
        if copied == 0 {
            return self.shards[index.0].handle_blocked(id);
        }
        if whole && self.plant != Plant::Nothing {
            self.tamper(number, &mut buffer);
        }
        let connection = self.connections.get_mut(&number).expect("found");
        connection.down.send(self.now, &buffer, &mut self.rng);
        self.shards[index.0].handle_sent(self.now, id, copied);
        if self.shards[index.0].outbox(id).is_some_and(|outbox| !outbox.is_empty()) {
            self.shards[index.0].handle_blocked(id);
        }
    }

    fn flush_encrypted(&mut self, index: ShardIndex, id: SessionId, number: usize) {
        let down = &mut self.connections.get_mut(&number).expect("found").down;
        let (shard, mut buffer) = (&mut self.shards[index.0], [0; 2_000]);
        let Some(bytes) = shard.outgoing(id, &mut buffer) else { return };
        let sent = down.window().min(bytes.len());
        if sent == 0 {
            return shard.handle_blocked(id);
        }
        down.send(self.now, &bytes[..sent], &mut self.rng);
        shard.handle_sent(self.now, id, sent);
    }

    /// Plants a bug in whole frames on their way to a client.
    fn tamper(&mut self, number: usize, frames: &mut Vec<u8>) {
        let is_packed = frames.first() == Some(&0xc2);
        if self.plant == Plant::OutOfStep && is_packed && self.rng.u8(0..50) == 0 {
            // Clients of rooms pass over texts, but their windows do not.
            let text: Vec<u8> = (0..300).map(|_| self.rng.u8(b'a'..=b'z')).collect();
            Compressor::new(15).put_frame(Kind::Text, &[&text], frames);
        }
        // A frame of state: binary, with a length of 126 to 65,535.
        let is_state = frames.len() > 4
            && frames[..2] == [0x82, 126]
            && usize::from(u16::from_be_bytes([frames[2], frames[3]])) + 4 == frames.len();
        if !is_state {
            return;
        }
        match self.plant {
            Plant::SkippedDelta if self.rng.u8(0..50) == 0 => frames.clear(),
            Plant::ForeignFrame => {
                let own = self.foreign_frame.replace((number, frames.clone()));
                if let Some((other, frame)) = own
                    && other != number
                    && self.rng.u8(0..50) == 0
                {
                    *frames = frame;
                }
            }
            Plant::SkippedDelta | Plant::StaleToken | Plant::OutOfStep | Plant::Nothing => {}
        }
    }

    fn close_socket(&mut self, index: ShardIndex, id: SessionId) {
        let Some(number) = self.find(index, id) else { return };
        if let Some(connection) = self.connections.remove(&number) {
            if matches!(connection.peer, Peer::Hostile) {
                self.outcome.hostile_ended += 1;
            }
            if self.plant == Plant::StaleToken {
                self.ghosts.push((index, id, connection.up));
            }
        }
    }

    /// Delivers late bytes to whoever sits where their session sat.
    fn haunt(&mut self) {
        for (shard, late, up) in &mut self.ghosts {
            let ids = self.shards[shard.0].sessions().ids();
            let Some(id) = ids.into_iter().find(|id| id.index == late.index) else { continue };
            while let Some(piece) = up.receive(self.now) {
                self.shards[shard.0].handle_bytes(self.now, id, &piece);
            }
        }
        self.ghosts.retain(|(_, _, up)| !up.is_empty());
    }

    pub(super) fn find(&self, index: ShardIndex, id: SessionId) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.find(|(_, c)| c.socket == Some((index, id))).map(|(number, _)| *number)
    }
}
