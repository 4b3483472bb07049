//! The clients' end of encrypted connections: whom they trust, and ciphertext in and out of one of
//! them. No sockets, no clock.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind,
    RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};

use crate::plan::Url;

/// Plaintext encrypted at once: what fits into one record.
const RECORD_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;

/// Whose certificates are believed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Trust {
    /// Those that somebody vouches for whom this machine trusts.
    #[default]
    Machine,
    /// Those that the certificates of a file vouch for.
    File(PathBuf),
    /// Anybody's.
    Anybody,
}

/// Why no encrypted connection can be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read `{}`, which --ca names: {error}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no certificate in it.
    #[error("there is no certificate in `{}`, which --ca names", .0.display())]
    Empty(PathBuf),
    /// What is in it is no certificate that can vouch for anything.
    #[error("a certificate in `{}`, which --ca names, cannot be used: {error}", .file.display())]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// Why.
        error: String,
    },
    /// The machine trusts nobody.
    #[error(
        "this machine has no list of whom to trust; name somebody with --ca, or use --insecure"
    )]
    NobodyKnown,
    /// The host of the address is no name.
    #[error("`{0}` is no name that a certificate could have")]
    NoName(String),
}

/// What encrypted connections to one server are made with. Clones of it remember the tickets of
/// one client; [`Encryption::of_client`] makes one for another client.
#[derive(Clone)]
pub struct Encryption {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Encryption {
    /// What is needed for this address; `None` when it asks for no encryption.
    ///
    /// # Errors
    /// [`TrustError`].
    ///
    /// # Panics
    /// Never: the provider has suites of both versions.
    pub fn of(url: &Url, trust: &Trust) -> Result<Option<Self>, TrustError> {
        if !url.scheme.is_encrypted() {
            return Ok(None);
        }
        let host = url.authority.rsplit_once(':').map_or(&*url.authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TrustError::NoName(host.to_owned()))?;
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(ALL_VERSIONS)
            .expect("the provider has suites of both versions");
        let builder = match trust {
            Trust::Machine => builder.with_root_certificates(known_roots()?),
            Trust::File(file) => builder.with_root_certificates(roots_of(file)?),
            Trust::Anybody => {
                let verifier = Arc::new(Believer(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { config: Arc::new(config), name }))
    }

    /// The same for a client that remembers nobody's tickets. It keeps those of its last
    /// connection, as a browser does.
    #[must_use]
    pub fn of_client(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(1);
        Self { config: Arc::new(config), name: self.name.clone() }
    }

    /// A connection on which nothing has arrived. Its hello is in its output.
    ///
    /// # Panics
    /// When the configuration asks for records of an impossible size; ours does not.
    #[must_use]
    pub fn connect(&self) -> ClientConnection {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        connection.expect("records are of the usual size")
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("name", &self.name).finish_non_exhaustive()
    }
}

fn known_roots() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    // Of some hundred, a few may be of kinds that are not understood: the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TrustError::NobodyKnown) } else { Ok(roots) }
}

fn roots_of(file: &Path) -> Result<RootCertStore, TrustError> {
    let text = std::fs::read(file)
        .map_err(|error| TrustError::Unreadable { file: file.to_owned(), error })?;
    let unusable = |error: &dyn fmt::Display| TrustError::Unusable {
        file: file.to_owned(),
        error: error.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() { Err(TrustError::Empty(file.to_owned())) } else { Ok(roots) }
}

/// Believes every certificate. Whoever shows one must still have its key.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One client's end of TLS.
pub struct Tls {
    connection: ClientConnection,
    /// Ciphertext that the socket did not take yet.
    unsent: Vec<u8>,
    was_handshaking: bool,
}

impl Tls {
    /// One on which nothing has arrived. Its hello is in its output.
    #[must_use]
    pub fn new(encryption: &Encryption) -> Self {
        let connection = encryption.connect();
        Self { connection, unsent: Vec::new(), was_handshaking: true }
    }

    /// Takes ciphertext in, and appends what it says to `plaintext`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, mut bytes: &[u8], plaintext: &mut Vec<u8>) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            let taken = self.connection.read_tls(&mut bytes).unwrap_or(0);
            let state = self.connection.process_new_packets()?;
            let mut left = state.plaintext_bytes_to_read();
            let mut reader = self.connection.reader();
            while left > 0
                && let Ok(chunk) = reader.fill_buf()
            {
                let length = chunk.len();
                plaintext.extend_from_slice(chunk);
                reader.consume(length);
                left = left.saturating_sub(length.max(1));
            }
            // Behind its close_notify nothing counts.
            if taken == 0 || state.peer_has_closed() {
                break;
            }
        }
        Ok(())
    }

    /// What is to be written: what the socket did not take, or else the next record made from the
    /// front of `plaintext`. What was written is to be dropped from it.
    pub fn output(&mut self, plaintext: &mut Vec<u8>) -> &mut Vec<u8> {
        if self.unsent.is_empty() {
            if !self.connection.is_handshaking() && !plaintext.is_empty() {
                let length = plaintext.len().min(RECORD_PLAINTEXT_BYTES_MAX);
                let taken = self.connection.writer().write(&plaintext[..length]).unwrap_or(0);
                plaintext.drain(..taken);
            }
            while self.connection.wants_write() {
                // A vector takes everything.
                let _ = self.connection.write_tls(&mut self.unsent);
            }
        }
        &mut self.unsent
    }

    /// How the handshake went; says so once, when it is over.
    pub fn take_agreed(&mut self) -> Option<HandshakeKind> {
        if !self.was_handshaking || self.connection.is_handshaking() {
            return None;
        }
        self.was_handshaking = false;
        self.connection.handshake_kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scheme;

    fn url(scheme: Scheme, authority: &str) -> Url {
        Url { scheme, authority: authority.to_owned(), path: "/ws".to_owned() }
    }

    #[test]
    fn the_name_to_be_certified_is_the_host_without_its_port() {
        for (authority, name) in [
            ("example.org:443", "example.org"),
            ("127.0.0.1:7420", "127.0.0.1"),
            ("[::1]:7420", "::1"),
        ] {
            let encryption = Encryption::of(&url(Scheme::Wss, authority), &Trust::Anybody);
            let encryption = encryption.expect("anybody is trusted").expect("it is encrypted");
            assert_eq!(encryption.name.to_str(), name, "{authority}");
        }
        let plain = Encryption::of(&url(Scheme::Ws, "a b:1"), &Trust::Anybody);
        assert!(plain.is_ok_and(|encryption| encryption.is_none()));
        let error = Encryption::of(&url(Scheme::Wss, "a b:1"), &Trust::Anybody);
        assert!(error.is_err_and(|error| error.to_string().contains("`a b`")));
    }

    #[test]
    fn a_file_of_whom_to_trust_is_named_when_something_is_wrong_with_it() {
        let folder = std::env::temp_dir().join(format!("loadtest-ca-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("empty.pem");
        std::fs::write(&file, "").expect("written");
        for (file, part) in [(file, "no certificate in"), (folder.join("none.pem"), "cannot read")]
        {
            let trust = Trust::File(file.clone());
            let error = Encryption::of(&url(Scheme::Wss, "a:1"), &trust).expect_err("a bad file");
            let text = error.to_string();
            assert!(text.contains(part) && text.contains(&*file.to_string_lossy()), "{text}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
