//! The clients' end of encrypted connections, in worlds that have them.
//!
//! Keys and nonces are drawn from the system, so a seed gives other ciphertext each time. It gives
//! the same lengths, because the certificate has a key whose signatures are all of one length, and
//! lengths are all that the network decides by: the trace of what clients hear is the same.

use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::ClientConfig;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tickloom_server::tls::identity::Identity;

use crate::tls_client::{TlsClient, trusting};

/// What encrypted connections of one world are made with. Clients remember tickets for as long as
/// the world lasts.
pub struct Encryption {
    identity: Identity,
    clients: [Arc<ClientConfig>; 2],
}

impl Encryption {
    pub fn new() -> Self {
        static KEY: OnceLock<CertifiedKey> = OnceLock::new();
        let key = KEY.get_or_init(make_key).clone();
        let identity = Identity::showing(key).expect("randomness");
        let clients =
            [&TLS12, &TLS13].map(|version| Arc::new(trusting(identity.certificate(), version)));
        Self { identity, clients }
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(self.identity.config())
    }

    pub fn client(&self, rng: &mut fastrand::Rng) -> TlsClient {
        TlsClient::new(&self.clients[usize::from(rng.u8(0..4) != 0)])
    }
}

fn make_key() -> CertifiedKey {
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("randomness");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    // One that depends on the key may begin with a zero, and be shorter.
    params.serial_number = Some(SerialNumber::from(7_u64));
    let certificate = params.self_signed(&pair).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(pair.serialize_der());
    CertifiedKey::from_der(vec![certificate.der().clone()], key.into(), &default_provider())
        .expect("a key that signs")
}

/// What a hostile client sends first to a port that expects TLS, unless it speaks it: a request
/// that is not encrypted, noise, or a hello with something wrong in it.
pub fn hostile_hello(
    tls: &mut TlsClient,
    plaintext: Vec<u8>,
    rng: &mut fastrand::Rng,
) -> Option<Vec<u8>> {
    match rng.u8(0..6) {
        0 => Some(plaintext),
        1 => {
            let noise = (0..rng.usize(1..600)).map(|_| rng.u8(..));
            Some([0x16].into_iter().chain(noise).collect())
        }
        2 => {
            let mut hello = tls.take_output();
            // In the two headers, and not in their lengths: a shorter one would have what lies
            // behind it read as something else, and extensions are in another order each time.
            let at = [0, 1, 2, 5][rng.usize(0..4)];
            hello[at] ^= 1 << rng.u8(0..8);
            Some(hello)
        }
        3 => {
            let mut hello = tls.take_output();
            hello.truncate(rng.usize(1..hello.len()));
            Some(hello)
        }
        _ => {
            tls.say(&plaintext);
            None
        }
    }
}
