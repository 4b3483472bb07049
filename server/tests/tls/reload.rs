//! A certificate that is replaced while clients are connected: real processes, files and signals.
#![expect(clippy::disallowed_methods, reason = "deadlines of real processes need the real clock")]

use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;
use rustls::version::TLS13;

use crate::certificates::Folder;
use crate::player::{DEADLINE, Player, ask};
use crate::process::Process;
use crate::tls_client::trusting;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_new_certificate_is_shown_to_newcomers_and_nobody_is_disturbed() {
    let folder = Folder::new("reload");
    let (cert, key) = (folder.path("chain.pem"), folder.path("key.pem"));
    let first = Arc::new(trusting(folder.write_pair("chain.pem", "key.pem"), &TLS13));
    let arguments = format!("--tls-cert {} --tls-key {}", cert.display(), key.display());
    let mut process = Process::serve("", &arguments);
    let mut player = Player::join(process.address, &first, "a");

    // A file that is no certificate: the one before stays.
    folder.write("chain.pem", "not yet");
    process.signal(Signal::HUP);
    for _ in 0..20 {
        player.until_applied();
    }
    assert!(ask(process.address, &first, HEALTH).starts_with("HTTP/1.1 200"));

    let second = folder.write_pair("chain.pem", "key.pem");
    process.signal(Signal::HUP);
    let started = Instant::now();
    let shown = loop {
        // Without tickets, so that each time a certificate is shown; which one, is looked at.
        let mut config = trusting(second.clone(), &TLS13);
        config.resumption = rustls::client::Resumption::disabled();
        let config = Arc::new(config);
        let mut newcomer = Player::connect(process.address, &config);
        let is_second = newcomer.is_trusted();
        if is_second {
            break config;
        }
        assert!(started.elapsed() < DEADLINE, "the new certificate is not shown");
        player.until_applied();
    };
    Player::join(process.address, &shown, "a").until_applied();
    player.until_applied();
    // Tickets of before are still good.
    let mut resumed = Player::join(process.address, &first, "a");
    resumed.until_applied();
    let kind = resumed.tls.connection.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));

    drop((player, resumed));
    process.signal(Signal::TERM);
    let (status, log) = process.wait();
    assert!(status.success(), "{status}: {log}");
    let event =
        |name: &str| log.lines().find(|line| line.contains(&format!(r#""event":"{name}""#)));
    let refused = event("tls.not_reloaded").unwrap_or_else(|| panic!("{log}"));
    let named = refused.contains("no certificate in `") && refused.contains("chain.pem");
    assert!(named && refused.contains(r#""level":"ERROR""#), "{refused}");
    assert!(event("tls.reloaded").is_some(), "{log}");
}
