//! A certificate with its key: read from PEM files, or made for a developer's machine.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// How long a certificate that was made is good: what browsers accept at most.
const MADE_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// Clocks of other machines may be behind ours by this much.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// The files of a certificate chain and of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PemFiles {
    /// The chain: the server's own certificate first, then those that vouch for it.
    pub cert: PathBuf,
    /// The private key of the first one.
    pub key: PathBuf,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {error}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what `BEGIN` and `END` lines say.
    #[error("`{}` is no PEM file: {error}", .file.display())]
    NotPem {
        /// Which.
        file: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// There is no certificate where one should be.
    #[error("there is no certificate in `{}`: nothing in it begins with `-----BEGIN CERTIFICATE-----`", .0.display())]
    NoCertificate(PathBuf),
    /// There is no key where one should be.
    #[error("there is no private key in `{}`, or only an encrypted one", .0.display())]
    NoKey(PathBuf),
    /// The key is of a kind that cannot sign here.
    #[error("the private key in `{}` cannot be used: {error}", .file.display())]
    UnusableKey {
        /// Its file.
        file: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// The certificate cannot be understood.
    #[error("the first certificate in `{}` cannot be used: {error}", .file.display())]
    UnusableCertificate {
        /// Its file.
        file: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the private key in `{}` is not that of the first certificate in `{}`",
        .0.key.display(),
        .0.cert.display()
    )]
    Mismatch(PemFiles),
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    NotMade(#[from] rcgen::Error),
    /// The certificate was made at start, and there is no file to read again.
    #[error("the certificate was made when the server started; there is no file to read again")]
    NoFiles,
}

/// Reads a certificate chain and its key, and looks whether they belong together.
///
/// # Errors
/// What is wrong, with which file.
pub(super) fn read(
    files: &PemFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let chain = read_chain(&files.cert)?;
    let key = read_key(&files.key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| CertificateError::UnusableKey { file: files.key.clone(), error })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch(files.clone())),
        Err(error) => {
            Err(CertificateError::UnusableCertificate { file: files.cert.clone(), error })
        }
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read_file(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateError::NoCertificate(file.to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(CertificateError::NotPem { file: file.to_owned(), error }),
    }
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    match PrivateKeyDer::from_pem_slice(&read_file(file)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(CertificateError::NoKey(file.to_owned())),
        Err(error) => Err(CertificateError::NotPem { file: file.to_owned(), error }),
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(file).map_err(|error| CertificateError::Unreadable { file: file.to_owned(), error })
}

/// Makes a certificate that nobody vouches for, for this machine's names and the address that is
/// listened on.
///
/// # Errors
/// The system has no randomness.
pub(super) fn make(
    listen: SocketAddr,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let mut addresses =
        vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0u16, 0, 0, 0, 0, 0, 0, 1])];
    let listen = listen.ip();
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tickloom --dev-cert");
    #[expect(
        clippy::disallowed_methods,
        reason = "a certificate says from when to when it is good"
    )]
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + MADE_LIFETIME).into();
    let certificate = params.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let file = || PathBuf::from("(made)");
    CertifiedKey::from_der(vec![certificate.der().clone()], key.into(), provider)
        .map_err(|error| CertificateError::UnusableKey { file: file(), error })
}
