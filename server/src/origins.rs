//! Whose pages may connect: the answer to cross-site WebSocket hijacking. A browser lets any page
//! open a WebSocket anywhere, with the cookies of its visitor, and says on whose behalf in
//! `Origin`. What is no browser leaves `Origin` out or invents it, so this protects visitors of
//! browsers, never the server: that is what authentication is for.

use crate::config::node::Raw;
use crate::config::value::{Value, misfit};

/// Which origins may connect. A request without one is not a browser's and always may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OriginPolicy {
    /// Those whose host and port are the ones the request itself goes to. Schemes are not
    /// compared: TLS may end at a proxy.
    SameHost,
    /// Exactly these.
    List(Vec<Origin>),
    /// Every page.
    Any,
}

/// A scheme, a host and a port, all that is compared of a page's address (RFC 6454 section 4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    scheme: String,
    /// Without capitals.
    host: String,
    /// The scheme's own when none is written; `None` for schemes that have none.
    port: Option<u16>,
}

impl OriginPolicy {
    /// Whether a request with this `Origin` and this `Host` may connect. Anything that does not
    /// read as an origin is nobody's: `null`, several of them, bytes that are not ASCII.
    #[must_use]
    pub fn allows(&self, origin: Option<&[u8]>, host: &[u8]) -> bool {
        let Some(origin) = origin else { return true };
        let parse = || std::str::from_utf8(origin).ok().and_then(|text| Origin::parse(text).ok());
        match self {
            Self::Any => true,
            Self::List(origins) => parse().is_some_and(|origin| origins.contains(&origin)),
            Self::SameHost => parse().is_some_and(|origin| origin.is_at(host)),
        }
    }
}

impl Origin {
    /// Reads `scheme://host[:port]`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("an origin begins with `https://`")?;
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_letter)
        {
            return Err("this is not a scheme such as `https`");
        }
        if rest.contains(['/', '?', '#']) {
            return Err("an origin ends with its host or port, without a path");
        }
        let (host, port) = split_port(rest).ok_or("this is not a port")?;
        if !is_host(host) {
            return Err("this is not a host; one that is not ASCII is written as `xn--...`");
        }
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(default_port(&scheme));
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }

    /// Whether this is the page of a web server at `host`, which may name a port.
    fn is_at(&self, host: &[u8]) -> bool {
        let (Some(default), Ok(host)) = (default_port(&self.scheme), std::str::from_utf8(host))
        else {
            return false;
        };
        split_port(host).is_some_and(|(host, port)| {
            host.eq_ignore_ascii_case(&self.host)
                && port.unwrap_or(default) == self.port.unwrap_or(default)
        })
    }
}

/// The port that pages of a scheme come from when they name none.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        // Extensions and apps, whose hosts are no places of a network.
        _ => None,
    }
}

/// A host and the port behind it; `None` when what stands there is no port. Colons within the
/// brackets of an IPv6 address belong to it.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_bytes = text.rfind(']').map_or(0, |end| end + 1);
    match text[host_bytes..].split_once(':') {
        None => Some((text, None)),
        Some((host_rest, port)) => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|_| is_number)?;
            Some((&text[..host_bytes + host_rest.len()], Some(port)))
        }
    }
}

fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    }
}

impl Value for OriginPolicy {
    fn accepts() -> String {
        r#""same-host", "*" or a list of origins such as ["https://example.com"]"#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let parse = |text: &str| Origin::parse(text).map_err(|why| format!("`{text}`: {why}"));
        match raw {
            Raw::Text(text) | Raw::Word(text) => match &**text {
                "same-host" => Ok(Self::SameHost),
                "*" => Ok(Self::Any),
                list => list
                    .split(',')
                    .map(|text| parse(text.trim()))
                    .collect::<Result<_, _>>()
                    .map(Self::List),
            },
            Raw::List(list) => {
                let text = |raw: &Raw| raw.text().map(str::to_owned).ok_or_else(|| misfit(raw));
                let origins = list.iter().map(|node| parse(&text(&node.raw)?));
                origins.collect::<Result<_, _>>().map(Self::List)
            }
            _ => Err(misfit(raw)),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::SameHost => "\"same-host\"".to_owned(),
            Self::Any => "\"*\"".to_owned(),
            Self::List(origins) => {
                let shown: Vec<_> = origins.iter().map(|origin| format!("\"{origin}\"")).collect();
                format!("[{}]", shown.join(", "))
            }
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if default_port(&self.scheme) != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose pages each policy lets in: same host, the list, everybody.
    const NOBODY: [bool; 3] = [false, false, true];
    const SAME: [bool; 3] = [true, false, true];
    const LISTED: [bool; 3] = [false, true, true];
    const BOTH: [bool; 3] = [true, true, true];

    #[test]
    fn pages_connect_where_they_come_from_or_where_they_are_listed() {
        let list =
            "https://play.example, http://localhost:3000, https://[2001:db8::1]:8443, app://game";
        let policies = ["same-host", list, "*"]
            .map(|text| OriginPolicy::read(&Raw::Text(text.to_owned())).expect("a policy"));
        let (name, port) = ("play.example", "play.example:7420");
        for (origin, host, expected) in [
            // The page's own server, by default ports and by others.
            ("https://play.example", name, BOTH),
            ("http://play.example", name, SAME),
            ("https://play.example:443", name, BOTH),
            ("http://play.example:80", name, SAME),
            ("https://play.example", "play.example:443", BOTH),
            ("http://play.example", "play.example:80", SAME),
            ("http://play.example:7420", port, SAME),
            ("https://play.example:7420", port, SAME),
            ("HTTPS://Play.EXAMPLE", name, BOTH),
            ("https://play.example", "PLAY.example", BOTH),
            ("http://127.0.0.1:7420", "127.0.0.1:7420", SAME),
            ("http://[::1]:7420", "[::1]:7420", SAME),
            ("http://[::1]", "[::1]", SAME),
            ("http://[2001:DB8::A]", "[2001:db8::a]", SAME),
            ("http://xn--bcher-kva.example", "xn--bcher-kva.example", SAME),
            // Other ports.
            ("https://play.example", port, LISTED),
            ("http://play.example:7421", port, NOBODY),
            ("http://play.example", "play.example:443", NOBODY),
            ("https://play.example", "play.example:80", LISTED),
            ("https://play.example:8443", name, NOBODY),
            // Other hosts, of which some look alike.
            ("https://evil-play.example", name, NOBODY),
            ("https://play.example.evil", name, NOBODY),
            ("https://evil.example", name, NOBODY),
            ("https://sub.play.example", name, NOBODY),
            ("https://example", name, NOBODY),
            ("https://play.example.", name, NOBODY),
            ("https://play-example", name, NOBODY),
            ("https://bücher.example", "bücher.example", NOBODY),
            ("https://evil.example@play.example", name, NOBODY),
            ("https://play.example@evil.example", name, NOBODY),
            ("https://play.example#evil.example", name, NOBODY),
            ("https://play.example/", name, NOBODY),
            ("https://localhost:3000", "localhost:7420", NOBODY),
            ("http://localhost:3000", "localhost:7420", LISTED),
            ("https://[2001:db8::1]:8443", name, LISTED),
            ("https://[2001:db8:0::1]:8443", "[2001:db8::2]", NOBODY),
            // What is no page of a web server, or nothing at all.
            ("null", name, NOBODY),
            ("null", "null", NOBODY),
            ("", name, NOBODY),
            ("*", name, NOBODY),
            ("play.example", name, NOBODY),
            ("//play.example", name, NOBODY),
            ("file://", name, NOBODY),
            ("chrome-extension://play.example", name, NOBODY),
            ("app://game", "game", LISTED),
            ("https://play.example:", name, NOBODY),
            ("https://play.example:+443", name, NOBODY),
            ("https://play.example:99999", name, NOBODY),
            ("https://play.example,https://play.example", name, NOBODY),
            ("https://play.example https://evil.example", name, NOBODY),
            ("https://play.example\0", name, NOBODY),
            ("https://[::1", "[::1", NOBODY),
            ("https://[play.example]", "[play.example]", NOBODY),
        ] {
            let allowed = [0, 1, 2].map(|index: usize| {
                policies[index].allows(Some(origin.as_bytes()), host.as_bytes())
            });
            assert_eq!(allowed, expected, "{origin:?} asks {host:?}");
        }
        for policy in &policies {
            assert!(policy.allows(None, name.as_bytes()), "{policy:?}: not a browser");
            let garbage = policy.allows(Some(b"https://\xff\xfe"), b"\xff\xfe");
            assert_eq!(garbage, *policy == OriginPolicy::Any, "{policy:?}");
        }
    }

    #[test]
    fn origins_are_checked_before_anybody_asks() {
        for (text, expected) in [
            ("same-host", Ok("\"same-host\"")),
            ("*", Ok("\"*\"")),
            ("https://A.b:443, http://c:81", Ok(r#"["https://a.b", "http://c:81"]"#)),
            ("example.com", Err("`example.com`: an origin begins with `https://`")),
            (
                "https://a.b/",
                Err("`https://a.b/`: an origin ends with its host or port, without a path"),
            ),
            ("https://a:b", Err("`https://a:b`: this is not a port")),
            (
                "https://*.a",
                Err(
                    "`https://*.a`: this is not a host; one that is not ASCII is written as `xn--...`",
                ),
            ),
            ("1://a", Err("`1://a`: this is not a scheme such as `https`")),
        ] {
            let read = OriginPolicy::read(&Raw::Word(text.to_owned())).map(|policy| policy.show());
            assert_eq!(read.as_deref().map_err(|error| &**error), expected, "{text}");
        }
    }
}
