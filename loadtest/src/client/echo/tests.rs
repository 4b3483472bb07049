//! Echo clients against a server in memory that can be told to misbehave.

use clap::Parser;
use tickloom_protocol::handshake::Head;

use super::*;
use crate::client::Noticeboard;
use crate::plan::{Args, Job, Plan, Scheme, Url};
use crate::tally::{Counters, Tally};

const WINDOW: Window = Window { from: Timestamp(0), until: Timestamp(1_000_000) };

/// What a server does with the second message it gets; all others it treats well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// Say something of its own first.
    Greeting,
    /// Change the last byte.
    Flip,
    /// Leave off the last byte.
    Cut,
    /// Send it twice.
    Twice,
    /// Send it never.
    Never,
    /// Send it after the next one.
    Late,
    /// Send binary as text.
    OtherKind,
}

struct Table {
    plan: Box<Plan>,
    clients: Vec<EchoClient>,
    servers: Vec<Link>,
    tally: Tally,
    now: Timestamp,
    heard: usize,
    held_back: Option<Vec<u8>>,
}

impl Table {
    /// Clients by these flags, all of them connected.
    fn new(flags: &str) -> Self {
        let words = ["loadtest", "echo"].into_iter().chain(flags.split_whitespace());
        let Ok(Job::Load(plan)) = Job::new(Args::parse_from(words)) else { panic!("{flags}") };
        let url = Url { scheme: Scheme::Ws, authority: "x".to_owned(), path: "/echo".to_owned() };
        let (mut clients, mut tally) = (Vec::new(), Tally::default());
        let (now, start) = (Timestamp(10), Timestamp(10));
        for index in 0..plan.clients_count {
            let setup = Setup { plan: &plan, url: &url, index, life: 0, start, clock_offset_us: 0 };
            let mut client = EchoClient::new(&setup, now);
            let request = std::mem::take(client.output_mut());
            let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else {
                panic!("an upgrade")
            };
            let turn = &mut Turn {
                now,
                window: WINDOW,
                tally: &mut tally,
                board: &mut Noticeboard::default(),
            };
            // Byte by byte: a head may come in pieces.
            upgrade.response().iter().for_each(|byte| client.handle_bytes(&[*byte], turn));
            assert_eq!(client.stage(), Stage::Playing);
            clients.push(client);
        }
        let servers = clients.iter().map(|_| Link::new(End::Server)).collect();
        Self { plan, clients, servers, tally, now, heard: 0, held_back: None }
    }

    /// Carries everything there and back, once; a millisecond passes.
    fn exchange(&mut self, fault: Fault) {
        self.now = Timestamp(self.now.0 + 1_000);
        for index in 0..self.clients.len() {
            let turn = &mut Turn {
                now: self.now,
                window: WINDOW,
                tally: &mut self.tally,
                board: &mut Noticeboard::default(),
            };
            self.clients[index].handle_timer(turn);
            let bytes = std::mem::take(self.clients[index].output_mut());
            let (mut input, mut pong) = (bytes.as_slice(), Vec::new());
            while let Ok(Some(Received::Binary(message))) =
                self.servers[index].poll(&mut input, &mut pong)
            {
                self.answer(index, message.to_vec(), fault);
            }
        }
    }

    fn answer(&mut self, from: usize, mut message: Vec<u8>, fault: Fault) {
        self.heard += 1;
        let fault = if self.heard == 2 { fault } else { Fault::None };
        match fault {
            Fault::None | Fault::OtherKind => {}
            Fault::Greeting => self.send(from, b"hello", Fault::None),
            Fault::Flip => *message.last_mut().expect("a payload") ^= 1,
            Fault::Cut => message.truncate(message.len() - 1),
            Fault::Twice => self.send(from, &message, Fault::None),
            Fault::Never => return,
            Fault::Late => {
                self.held_back = Some(message);
                return;
            }
        }
        self.send(from, &message, fault);
        if let Some(late) = self.held_back.take() {
            self.send(from, &late, Fault::None);
        }
    }

    fn send(&mut self, from: usize, message: &[u8], fault: Fault) {
        let is_broadcast = matches!(self.clients[0].load.pattern, Pattern::Broadcast { .. });
        for to in 0..self.clients.len() {
            if to != from && !is_broadcast {
                continue;
            }
            let mut wire = Vec::new();
            if fault == Fault::OtherKind {
                let text = String::from_utf8_lossy(message).into_owned();
                self.servers[to].send_text(text.into(), &mut wire);
            } else {
                self.servers[to].send_binary(Bytes::copy_from_slice(message), &mut wire);
            }
            let turn = &mut Turn {
                now: self.now,
                window: WINDOW,
                tally: &mut self.tally,
                board: &mut Noticeboard::default(),
            };
            self.clients[to].handle_bytes(&wire, turn);
        }
    }

    fn finish(mut self) -> Tally {
        for client in &mut self.clients {
            let turn = &mut Turn {
                now: WINDOW.until,
                window: WINDOW,
                tally: &mut self.tally,
                board: &mut Noticeboard::default(),
            };
            client.finish(turn);
        }
        assert_eq!(u64::from(self.plan.clients_count), self.tally.counters.clients_joined);
        self.tally
    }
}

#[test]
fn whatever_a_server_does_to_a_message_is_noticed() {
    type Counts = (u64, u64, u64);
    let rows: [(Fault, Counts); 7] = [
        // (wrong, lost, not ours)
        (Fault::None, (0, 0, 0)),
        (Fault::Greeting, (0, 0, 1)),
        (Fault::Flip, (1, 0, 0)),
        (Fault::Cut, (1, 0, 0)),
        (Fault::Twice, (1, 0, 0)),
        (Fault::Never, (0, 1, 0)),
        // It was overtaken, so it is out of order when it comes.
        (Fault::Late, (1, 0, 0)),
    ];
    for (fault, expected) in rows {
        let mut table = Table::new("-n 1 --rate 100");
        (0..99).for_each(|_| table.exchange(fault));
        let Tally { counters, rtt, .. } = table.finish();
        let Counters { messages_wrong, messages_lost, messages_foreign, .. } = counters;
        assert_eq!((messages_wrong, messages_lost, messages_foreign), expected, "{fault:?}");
        let right = counters.messages_received;
        assert_eq!(counters.messages_sent, 10, "{fault:?}: 100 a second");
        let wrong_but_here = if fault == Fault::Twice { 0 } else { messages_wrong };
        assert_eq!(right + wrong_but_here + messages_lost, 10, "{fault:?}");
        assert_eq!(rtt.count(), right + messages_lost, "{fault:?}");
    }
}

#[test]
fn a_closed_loop_keeps_as_many_on_their_way_as_asked_for() {
    for in_flight in [1, 16] {
        let mut table = Table::new(&format!("-n 2 --in-flight {in_flight} --payload 700"));
        (0..10).for_each(|_| table.exchange(Fault::None));
        for client in &table.clients {
            assert_eq!(client.pending.len(), in_flight, "{in_flight}");
            assert!(!client.has_tail(WINDOW));
        }
        let counters = table.finish().counters;
        let (sent, lost) = (counters.messages_sent, counters.messages_lost);
        assert_eq!((sent, lost), (22 * in_flight as u64, 2 * in_flight as u64), "{in_flight}");
        assert_eq!(counters.messages_received, 20 * in_flight as u64);
    }
}

#[test]
fn a_closed_loop_outlives_a_message_that_came_back_wrong() {
    for fault in [Fault::Flip, Fault::Cut, Fault::Twice, Fault::Greeting, Fault::OtherKind] {
        let mut table = Table::new("-n 1");
        (0..10).for_each(|_| table.exchange(fault));
        assert_eq!(table.clients[0].pending.len(), 1, "{fault:?}");
        let counters = table.finish().counters;
        let changed_kind = u64::from(fault == Fault::OtherKind);
        assert_eq!(counters.messages_changed_kind, changed_kind, "{fault:?}");
        assert!(counters.messages_sent >= 2, "{fault:?}: {counters:?}");
    }
}

#[test]
fn every_receiver_of_a_broadcast_is_counted() {
    let rows = [
        (Fault::None, (0, 40)),
        (Fault::Flip, (5, 36)),
        (Fault::Twice, (5, 40)),
        (Fault::Never, (0, 36)),
    ];
    for (fault, (wrong, received)) in rows {
        let mut table = Table::new("-n 5 --broadcast --senders 2 --rate 100");
        (0..99).for_each(|_| table.exchange(fault));
        let Tally { counters, delivery, .. } = table.finish();
        assert_eq!(counters.messages_sent, 10, "{fault:?}");
        assert_eq!(
            (counters.messages_wrong, counters.messages_received),
            (wrong, received),
            "{fault:?}"
        );
        assert_eq!(delivery.count(), received, "{fault:?}");
        let to_sender = 10 - u64::from(matches!(fault, Fault::Flip | Fault::Never));
        assert_eq!(counters.messages_to_sender, to_sender, "{fault:?}");
    }
}

#[test]
fn an_open_loop_sends_no_more_than_a_server_keeps_up_with() {
    let mut table = Table::new("-n 1 --rate 100k");
    let client = &mut table.clients[0];
    let turn = &mut Turn {
        now: Timestamp(900_000),
        window: WINDOW,
        tally: &mut table.tally,
        board: &mut Noticeboard::default(),
    };
    client.handle_timer(turn);
    let counters = &table.tally.counters;
    assert_eq!(counters.messages_sent + counters.messages_blocked, 90_000);
    assert!(client.pending.len() <= PENDING_MAX && counters.messages_blocked > 0, "{counters:?}");
    assert!(client.output.len() <= OUTPUT_BYTES_MAX + 1024);
}

#[test]
fn ends_that_nobody_asked_for_are_counted_by_their_code() {
    let mut table = Table::new("-n 2");
    let mut wire = Vec::new();
    table.servers[0].close(&CloseReason::RESTART, &mut wire);
    let turn = &mut Turn {
        now: table.now,
        window: WINDOW,
        tally: &mut table.tally,
        board: &mut Noticeboard::default(),
    };
    table.clients[0].handle_bytes(&wire, turn);
    table.clients[1].handle_disconnect("reset", turn);
    assert!(table.clients.iter().all(|client| client.stage() == Stage::Ended));
    let kinds: Vec<_> = table.tally.closes.0.keys().cloned().collect();
    assert_eq!(kinds, ["1006", "1012"]);
    assert_eq!(table.finish().counters.messages_lost, 2, "one of each was on its way");
}
