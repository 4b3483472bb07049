//! Certificates and keys in files: what is wrong with them is said with the file's name, before
//! anybody is listened to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;

/// A folder that is gone with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tickloom-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Writes a certificate for `localhost` and its key.
    pub fn write_pair(&self, cert: &str, key: &str) -> CertificateDer<'static> {
        let pair = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&pair).expect("a certificate");
        self.write(cert, &certificate.pem());
        self.write(key, &pair.serialize_pem());
        certificate.der().clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is the system's to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn complaint(arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickloom"));
    command.args(["serve", "--check"]).args(arguments).current_dir(folder);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert_eq!(code, Some(if said.is_empty() { 0 } else { 2 }), "{arguments:?}: {said}");
    said
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let folder = Folder::new("certificates");
    folder.write_pair("chain.pem", "key.pem");
    folder.write_pair("other.pem", "other-key.pem");
    folder.write("empty.pem", "");
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n@@@\n-----END CERTIFICATE-----\n");
    folder.write("noise.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let rows: [(&[&str], &[&str]); 11] = [
        (&["--tls-cert", "chain.pem", "--tls-key", "key.pem"], &[]),
        (&["--dev-cert"], &[]),
        (&["--tls-cert", "nowhere.pem", "--tls-key", "key.pem"], &["cannot read `nowhere.pem`"]),
        (&["--tls-cert", "chain.pem", "--tls-key", "nowhere.pem"], &["cannot read `nowhere.pem`"]),
        (&["--tls-cert", "empty.pem", "--tls-key", "key.pem"], &["no certificate in `empty.pem`"]),
        (&["--tls-cert", "key.pem", "--tls-key", "key.pem"], &["no certificate in `key.pem`"]),
        (
            &["--tls-cert", "chain.pem", "--tls-key", "chain.pem"],
            &["no private key in `chain.pem`"],
        ),
        (&["--tls-cert", "broken.pem", "--tls-key", "key.pem"], &["`broken.pem` is no PEM file"]),
        (&["--tls-cert", "noise.pem", "--tls-key", "key.pem"], &["certificate in `noise.pem`"]),
        (
            &["--tls-cert", "chain.pem", "--tls-key", "other-key.pem"],
            &["key in `other-key.pem` is not that of the first certificate in `chain.pem`"],
        ),
        (&["--tls-cert", "chain.pem"], &["`tls.cert` needs `tls.key`"]),
    ];
    for (arguments, parts) in rows {
        let said = complaint(arguments, &folder.0);
        assert_eq!(said.is_empty(), parts.is_empty(), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: no `{part}` in {said}");
        }
    }
}

#[test]
fn keys_that_do_not_go_together_are_named() {
    let folder = Folder::new("pairs");
    for (arguments, part) in [
        (&["--tls-key", "a"][..], "`tls.key` needs `tls.cert`"),
        (
            &["--dev-cert", "--tls-cert", "a", "--tls-key", "b"],
            "`tls.dev_cert` does not go with `tls.cert`",
        ),
    ] {
        let said = complaint(arguments, &folder.0);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
