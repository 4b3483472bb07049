//! Pages as browsers get them.

use tickloom_server::config::Config;

use crate::player::{ask, get};
use crate::{start, start_with, stop};

#[test]
fn pages_can_be_turned_off_and_health_cannot() {
    for (has_pages, statuses) in [(true, ["200", "200"]), (false, ["404", "200"])] {
        let server = start_with(|http| http.has_pages = has_pages);
        let asked = ["/", "/healthz"].map(|path| ask(server.address(), &get(path)));
        let said = asked.each_ref().map(|response| &response[9..12]);
        assert_eq!(said, statuses, "has_pages: {has_pages}");
        stop(server);
    }
}

#[test]
fn a_browser_that_has_the_page_is_told_so_and_nothing_more() {
    let server = start(&Config::loopback());
    let page = ask(server.address(), &get("/"));
    let tag = page.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
    let again = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nIf-None-Match: {}\r\n\r\n",
        tag.trim()
    );
    let answer = ask(server.address(), again.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 304 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    stop(server);
}
