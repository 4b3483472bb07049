//! Our end of TLS against a client that somebody else wrote, without a socket in between.

#[path = "../../tests/tls_client/mod.rs"]
mod tls_client;

use bytes::Bytes;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, SupportedProtocolVersion};

use super::identity::{Identity, TlsSource};
use super::*;
use crate::outbox::OutboxLimits;
use tls_client::{TlsClient, trusting};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn identity() -> Identity {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Identity::of(&TlsSource::Made, listen).expect("randomness").expect("a certificate")
}

fn client_config(
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    Arc::new(trusting(identity.certificate(), version))
}

/// Both ends and nothing between them.
struct Ends {
    server: Tls,
    outbox: Outbox,
    lent: Vec<u8>,
    /// What the client said.
    heard: Vec<u8>,
    client_is_done: bool,
    client: TlsClient,
}

impl Ends {
    fn new(identity: &Identity, config: &Arc<ClientConfig>) -> Self {
        let limits = OutboxLimits { soft_bytes_max: 1 << 20, hard_bytes_max: 1 << 21 };
        Self {
            server: Tls::new(identity.config()),
            outbox: Outbox::new(limits),
            lent: Vec::new(),
            heard: Vec::new(),
            client_is_done: false,
            client: TlsClient::new(config),
        }
    }

    /// Ends that have agreed on keys.
    fn open(identity: &Identity, config: &Arc<ClientConfig>) -> Self {
        let mut ends = Self::new(identity, config);
        ends.exchange(usize::MAX).expect("they agree");
        assert!(ends.server.is_open(), "{:?}", ends.server.state);
        ends
    }

    /// The shard's way with bytes that arrive.
    fn arrive(&mut self, bytes: &[u8]) -> Result<(), rustls::Error> {
        let peer = if self.server.is_handshaking() {
            self.server.is_listed = !self.server.wait(bytes);
            self.server.check_invariants();
            let waiting = self.server.take_waiting();
            self.server.is_listed = false;
            self.server.read(&waiting, &mut self.heard)?
        } else {
            self.server.read(bytes, &mut self.heard)?
        };
        self.client_is_done |= peer == Peer::IsDone;
        Ok(())
    }

    /// What the server sends, taken by a socket in pieces.
    fn depart(&mut self, piece: usize) -> Vec<u8> {
        let (mut bytes, mut copy) = (Vec::new(), vec![0; 64 * 1024]);
        while let Some(out) = self.server.outgoing(&mut self.outbox, &mut copy, &mut self.lent) {
            let sent = out.len().min(piece);
            bytes.extend_from_slice(&out[..sent]);
            self.server.advance(sent, &mut self.lent);
            self.server.check_invariants();
        }
        bytes
    }

    /// Everything crosses in pieces, until nobody has anything to say.
    fn exchange(&mut self, piece: usize) -> Result<(), rustls::Error> {
        loop {
            let (up, down) = (self.client.take_output(), self.depart(piece));
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
            for bytes in up.chunks(piece) {
                self.arrive(bytes)?;
            }
            for bytes in down.chunks(piece) {
                self.client.read(bytes)?;
            }
        }
    }
}

#[test]
fn what_is_said_crosses_whole_and_byte_by_byte() {
    let identity = identity();
    for version in VERSIONS {
        for piece in [1, 7, 1_000, usize::MAX] {
            let mut ends = Ends::new(&identity, &client_config(&identity, version));
            ends.client.say(b"before the end of the handshake");
            ends.outbox.push(Bytes::from_static(b"so does this"));
            ends.exchange(piece).expect("they agree");
            assert_eq!(ends.server.agreed(), Some(Agreed::Full), "{version:?}");
            assert_eq!(ends.heard, b"before the end of the handshake", "{version:?} {piece}");
            assert_eq!(ends.client.heard, b"so does this", "{version:?} {piece}");
            assert!(!ends.server.has_unsent() && ends.outbox.is_empty());
        }
    }
}

#[test]
fn much_leaves_in_order_and_no_more_than_a_record_of_it_is_ciphertext() {
    let identity = identity();
    let mut ends = Ends::open(&identity, &client_config(&identity, &TLS13));
    let mut expected = Vec::new();
    for number in 0..40_u8 {
        let frame = vec![number; 137 * usize::from(number)];
        expected.extend_from_slice(&frame);
        ends.outbox.push(Bytes::from(frame));
    }
    let large = vec![77; 100_000];
    expected.extend_from_slice(&large);
    ends.outbox.push(Bytes::from(large));
    let (mut copy, mut before) = (vec![0; 64 * 1024], ends.outbox.bytes());
    while let Some(out) = ends.server.outgoing(&mut ends.outbox, &mut copy, &mut ends.lent) {
        assert!(out.len() < RECORD_PLAINTEXT_BYTES_MAX + 64, "{}", out.len());
        // A socket that takes half of it, and then the rest.
        let half = out.len().div_ceil(2);
        ends.client.read(&out[..half]).expect("in order");
        ends.server.advance(half, &mut ends.lent);
        ends.server.shrink();
        let after = ends.outbox.bytes();
        assert!(before - after <= RECORD_PLAINTEXT_BYTES_MAX, "{before} {after}");
        before = after;
    }
    assert!(ends.outbox.is_empty() && ends.server.unsent.capacity() == 0);
    assert_eq!(ends.client.heard, expected);
}

#[test]
fn who_comes_back_resumes() {
    let identity = identity();
    for version in VERSIONS {
        let config = client_config(&identity, version);
        let how: Vec<_> = (0..3).map(|_| Ends::open(&identity, &config).server.agreed()).collect();
        let expected = [Agreed::Full, Agreed::Resumed, Agreed::Resumed].map(Some);
        assert_eq!(how, expected, "{version:?}");
    }
}

#[test]
fn only_http_1_is_spoken_inside() {
    let identity = identity();
    for version in VERSIONS {
        for (offers, expected) in [
            (vec![], Ok(None)),
            (vec!["http/1.1"], Ok(Some("http/1.1"))),
            (vec!["h2", "http/1.1"], Ok(Some("http/1.1"))),
            (vec!["h2"], Err(())),
        ] {
            let mut config = trusting(identity.certificate(), version);
            config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
            let mut ends = Ends::new(&identity, &Arc::new(config));
            let result = ends.exchange(usize::MAX).map_err(|_| ());
            let agreed = ends.client.connection.alpn_protocol();
            let agreed = agreed.map(|name| std::str::from_utf8(name).expect("a name"));
            assert_eq!(result.map(|()| agreed), expected, "{offers:?}");
            if expected.is_err() {
                let down = ends.depart(usize::MAX);
                let error = ends.client.read(&down).expect_err("an alert");
                let alert = AlertDescription::NoApplicationProtocol;
                assert_eq!(error, rustls::Error::AlertReceived(alert));
            }
        }
    }
}

#[test]
fn nonsense_gets_an_alert_and_nothing_else() {
    let identity = identity();
    let config = client_config(&identity, &TLS13);
    let hello = TlsClient::new(&config).take_output();
    let mut flipped = hello.clone();
    flipped[60] ^= 1;
    flipped[5] = 0x0e;
    let rows: [(&str, Vec<u8>); 4] = [
        ("a record of another type", vec![0x17, 3, 3, 0, 1, 0]),
        ("a record longer than any", vec![0x16, 3, 3, 0xff, 0xff, 1, 0, 0, 0]),
        ("letters", vec![0x16; 300]),
        ("a hello that is none", flipped),
    ];
    for (what, bytes) in rows {
        let mut ends = Ends::new(&identity, &config);
        ends.outbox.push(Bytes::from_static(b"secret"));
        ends.arrive(&bytes).expect_err(what);
        assert!(ends.server.is_closed(), "{what}");
        let alert = ends.depart(usize::MAX);
        assert_eq!((alert[0], alert.len()), (0x15, 7), "{what}: {alert:?}");
        ends.arrive(&hello).expect_err("it stays broken");
        assert!(ends.depart(usize::MAX).is_empty(), "one alert: {what}");
    }
    // What is cut short is waited for.
    for length in [1, 5, 50, hello.len() - 1] {
        let mut ends = Ends::new(&identity, &config);
        ends.arrive(&hello[..length]).expect("more may come");
        assert!(ends.server.is_handshaking() && ends.depart(usize::MAX).is_empty());
    }
}

#[test]
fn tampering_is_noticed() {
    let identity = identity();
    for version in VERSIONS {
        let mut ends = Ends::open(&identity, &client_config(&identity, version));
        ends.client.say(b"first");
        ends.exchange(usize::MAX).expect("untouched");
        ends.client.say(b"second");
        let mut bytes = ends.client.take_output();
        *bytes.last_mut().expect("a record") ^= 1;
        ends.arrive(&bytes).expect_err("it was changed");
        assert_eq!(ends.heard, b"first");
    }
}

#[test]
fn either_end_may_be_the_first_to_say_that_nothing_follows() {
    let identity = identity();
    for version in VERSIONS {
        // Ours first: what was queued before is heard, and the client may still speak.
        let mut ends = Ends::open(&identity, &client_config(&identity, version));
        ends.outbox.push(Bytes::from_static(b"bye"));
        let last = ends.depart(usize::MAX);
        ends.server.close();
        ends.server.close();
        let close = ends.depart(usize::MAX);
        ends.client.read(&last).expect("valid");
        assert!(!ends.client.is_done);
        ends.client.read(&close).expect("valid");
        assert!(ends.client.is_done && ends.client.heard == b"bye");
        ends.client.say(b"wait");
        ends.client.connection.send_close_notify();
        ends.exchange(usize::MAX).expect("valid");
        assert!(ends.client_is_done && ends.heard == b"wait");

        // Theirs first, in one piece with what it said last.
        let mut ends = Ends::open(&identity, &client_config(&identity, version));
        ends.client.say(b"bye");
        ends.client.connection.send_close_notify();
        let bytes = ends.client.take_output();
        ends.arrive(&bytes).expect("valid");
        assert!(ends.client_is_done && ends.heard == b"bye");
        ends.outbox.push(Bytes::from_static(b"so long"));
        ends.exchange(usize::MAX).expect("valid");
        ends.server.close();
        ends.exchange(usize::MAX).expect("valid");
        assert!(ends.client.is_done && ends.client.heard == b"so long");

        // Both at once.
        let mut ends = Ends::open(&identity, &client_config(&identity, version));
        ends.server.close();
        ends.client.connection.send_close_notify();
        ends.exchange(usize::MAX).expect("valid");
        assert!(ends.client.is_done && ends.client_is_done);
    }
}

#[test]
fn a_connection_goes_on_with_whoever_takes_it() {
    let identity = identity();
    let mut ends = Ends::open(&identity, &client_config(&identity, &TLS13));
    ends.outbox.push(Bytes::from_static(b"from the session"));
    let mut copy = vec![0; 1024];
    let out = ends.server.outgoing(&mut ends.outbox, &mut copy, &mut ends.lent).expect("a record");
    // The socket took some of it.
    ends.client.read(&out[..9]).expect("valid");
    ends.server.advance(9, &mut ends.lent);
    // Half a record has arrived, too.
    ends.client.say(b"to whoever");
    let bytes = ends.client.take_output();
    ends.arrive(&bytes[..10]).expect("valid");
    let (mut connection, mut unsent) = ends.server.into_connection();
    connection.writer().write_all(b" and another").expect("room");
    while connection.wants_write() {
        connection.write_tls(&mut unsent).expect("a vector");
    }
    ends.client.read(&unsent).expect("valid");
    assert_eq!(ends.client.heard, b"from the session and another");
    connection.read_tls(&mut &bytes[10..]).expect("room");
    connection.process_new_packets().expect("valid");
    assert_eq!(connection.reader().fill_buf().expect("bytes"), b"to whoever");
}
