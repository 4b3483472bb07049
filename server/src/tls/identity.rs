//! Who the server says it is, and what it offers when keys are agreed on: one for all shards.
//!
//! What handshakes share between threads is here: the certificate, which is replaced as a whole,
//! and the keys of tickets, which let a client that comes back to another shard resume. Neither is
//! touched once a connection is open.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ALL_VERSIONS, ServerConfig};

use crate::tls::certificate::{self, CertificateError, PemFiles};

/// The one protocol inside: WebSocket begins as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// Whether connections are encrypted, and by whose certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum TlsSource {
    /// They are not.
    #[default]
    Off,
    /// That of these files.
    Files(PemFiles),
    /// One that is made at start, which nobody vouches for.
    Made,
}

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system has no randomness.
    #[error("cannot make keys for tickets: {0}")]
    Tickets(rustls::Error),
}

/// The certificate in use and what goes with it.
#[derive(Clone)]
pub struct Identity {
    /// Where the certificate can be read again.
    files: Option<PemFiles>,
    certificate: Arc<Certificate>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Identity {
    /// Reads or makes the certificate; `None` when connections are not encrypted.
    ///
    /// # Errors
    /// What is wrong with which file, or the system has no randomness.
    pub fn of(source: &TlsSource, listen: SocketAddr) -> Result<Option<Self>, TlsError> {
        let provider = default_provider();
        let (key, files) = match source {
            TlsSource::Off => return Ok(None),
            TlsSource::Files(files) => (certificate::read(files, &provider)?, Some(files.clone())),
            TlsSource::Made => (certificate::make(listen, &provider)?, None),
        };
        Ok(Some(Self { files, ..Self::showing(key)? }))
    }

    /// One whose certificate comes from elsewhere.
    ///
    /// # Errors
    /// The system has no randomness.
    ///
    /// # Panics
    /// Never: the provider has suites of both versions.
    pub fn showing(key: CertifiedKey) -> Result<Self, TlsError> {
        let provider = default_provider();
        let certificate = Arc::new(Certificate(ArcSwap::from_pointee(key)));
        let builder = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(ALL_VERSIONS)
            .expect("the provider has suites of both versions");
        let resolver = Arc::clone(&certificate);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // What a connection needs to be resumed is in its ticket, so that nothing is kept here for
        // clients that do not come back, and any shard knows those that do.
        config.ticketer = Ticketer::new().map_err(TlsError::Tickets)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { files: None, certificate, config: Arc::new(config) })
    }

    /// Reads the files again. Handshakes from now on show what is in them; connections that are
    /// open, and tickets, stay. When anything is wrong, everything stays.
    ///
    /// # Errors
    /// What is wrong with which file, or there are none.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.files else {
            return Err(CertificateError::NoFiles.into());
        };
        let key = certificate::read(files, self.config.crypto_provider())?;
        self.certificate.0.store(Arc::new(key));
        Ok(())
    }

    /// What sessions are made with.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificate that is shown now.
    ///
    /// # Panics
    /// Never: one without a certificate is not made.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        let key = self.certificate.0.load();
        key.end_entity_cert().expect("a chain has a first certificate").clone().into_owned()
    }

    /// The SHA-256 of the certificate that is shown now, as other programs write it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.certificate());
        hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("files", &self.files).finish_non_exhaustive()
    }
}
