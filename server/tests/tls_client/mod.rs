//! The client's end of TLS, in memory.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]

use std::io::{BufRead, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// A client that trusts one certificate and remembers tickets.
pub fn trusting(
    certificate: CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[version])
        .expect("the provider has suites");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(64);
    config
}

pub struct TlsClient {
    pub connection: ClientConnection,
    /// What the server said.
    pub heard: Vec<u8>,
    /// The server has said that nothing follows.
    pub is_done: bool,
}

impl TlsClient {
    pub fn new(config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a connection");
        Self { connection, heard: Vec::new(), is_done: false }
    }

    /// What is said before the handshake is over leaves after it.
    pub fn say(&mut self, plaintext: &[u8]) {
        self.connection.writer().write_all(plaintext).expect("a little");
    }

    /// Everything that is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).expect("a vector takes everything");
        }
        bytes
    }

    /// What a piece of ciphertext said. A server may send an honest client no nonsense; what others
    /// get, they asked for.
    pub fn hear(&mut self, piece: &[u8], is_honest: bool) -> Vec<u8> {
        let result = self.read(piece);
        assert!(result.is_ok() || !is_honest, "{result:?}");
        std::mem::take(&mut self.heard)
    }

    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() && !self.is_done {
            self.connection.read_tls(&mut bytes).expect("it has room");
            let state = self.connection.process_new_packets()?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = self.connection.reader();
                let chunk = reader.fill_buf().expect("so much is there");
                let taken = chunk.len();
                self.heard.extend_from_slice(chunk);
                reader.consume(taken);
                left -= taken;
            }
            self.is_done = state.peer_has_closed();
        }
        Ok(())
    }
}
