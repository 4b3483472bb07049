//! Whom to believe about who a client is. What a connection's own peer says about itself proves
//! nothing, so headers count only when a proxy that was named in the configuration sent them.

use std::net::IpAddr;

use ipnet::IpNet;
use tickloom_protocol::handshake::Forwarded;
use tickloom_protocol::handshake::forwarded::{forwarded_for, x_forwarded_for};

use crate::config::node::Raw;
use crate::config::value::{Value, Words, misfit};

/// Networks by their prefixes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// The addresses of this machine itself.
    #[must_use]
    pub fn loopback() -> Self {
        let networks = ["127.0.0.0/8", "::1/128"];
        Self(networks.iter().map(|network| network.parse().expect("a network")).collect())
    }

    /// No network at all.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether an address is in one of them. One that is IPv4 in the clothes of IPv6 is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// In which header trusted proxies say whom they speak for. Only one is believed: a proxy that
/// writes the one passes the other on as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, which nginx, `HAProxy`, Caddy and most others write.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Words for ForwardedHeader {
    const WORDS: &'static [(&'static str, Self)] =
        &[("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded)];
}

/// The proxies in front of the server.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// Where they are.
    pub trusted: Networks,
    /// What they write.
    pub header: ForwardedHeader,
    /// Whether each of their connections begins with a PROXY protocol header.
    pub protocol: ProxyProtocol,
}

/// Whether connections from trusted proxies begin with a header of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// Each one does, or is refused.
    Required,
    /// None does.
    Off,
}

impl Proxies {
    /// The address of the client that speaks through `from`, itself a client or a proxy: the
    /// nearest one that no trusted proxy has. Where a proxy says nothing that can be read, it
    /// stands for its client.
    #[must_use]
    pub fn client(&self, from: IpAddr, forwarded: &Forwarded) -> IpAddr {
        match self.header {
            ForwardedHeader::XForwardedFor => {
                self.nearest_untrusted(from, x_forwarded_for(&forwarded.x_forwarded_for))
            }
            ForwardedHeader::Forwarded => {
                self.nearest_untrusted(from, forwarded_for(&forwarded.forwarded))
            }
        }
    }

    fn nearest_untrusted(
        &self,
        from: IpAddr,
        hops: impl Iterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut client = from;
        for hop in hops {
            if !self.trusted.contains(client) {
                break;
            }
            let Some(hop) = hop else { break };
            client = hop;
        }
        client.to_canonical()
    }
}

impl Value for Networks {
    fn accepts() -> String {
        r#""none" or networks such as ["10.0.0.0/8", "::1/128"]"#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) | Raw::Word(text) if text == "none" => Ok(Self::none()),
            Raw::Text(text) | Raw::Word(text) => text
                .split(',')
                .map(|text| read_network(text.trim()))
                .collect::<Result<_, _>>()
                .map(Self),
            Raw::List(list) => {
                let read = |raw: &Raw| read_network(raw.text().ok_or_else(|| misfit(raw))?);
                list.iter().map(|node| read(&node.raw)).collect::<Result<_, _>>().map(Self)
            }
            _ => Err(misfit(raw)),
        }
    }

    fn show(&self) -> String {
        let shown: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        if shown.is_empty() { "\"none\"".to_owned() } else { format!("\"{}\"", shown.join(",")) }
    }
}

/// A network, or an address, which is a network of one.
fn read_network(text: &str) -> Result<IpNet, String> {
    let network: Option<IpNet> =
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = network.ok_or_else(|| format!("`{text}` is not a network such as 10.0.0.0/8"))?;
    if network.trunc() != network {
        let meant = network.trunc();
        return Err(format!("`{text}` has bits behind its prefix; the network is {meant}"));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Result<String, String> {
        Networks::read(&Raw::Word(text.to_owned())).map(|networks| networks.show())
    }

    #[test]
    fn networks_are_prefixes_or_single_addresses() {
        for (text, expected) in [
            ("none", Ok("\"none\"")),
            ("10.0.0.0/8, ::1", Ok("\"10.0.0.0/8,::1/128\"")),
            ("192.0.2.1", Ok("\"192.0.2.1/32\"")),
            (
                "10.0.0.1/8",
                Err("`10.0.0.1/8` has bits behind its prefix; the network is 10.0.0.0/8"),
            ),
            ("10.0.0.0/33", Err("`10.0.0.0/33` is not a network such as 10.0.0.0/8")),
            ("localhost", Err("`localhost` is not a network such as 10.0.0.0/8")),
            ("", Err("`` is not a network such as 10.0.0.0/8")),
        ] {
            let read = networks(text);
            assert_eq!(read.as_deref().map_err(|error| &**error), expected, "{text}");
        }
        assert!(Networks::loopback().contains("::ffff:127.0.0.2".parse().expect("an address")));
    }

    #[test]
    fn only_what_trusted_proxies_say_moves_a_client() {
        let proxies = |header| Proxies {
            trusted: Networks::read(&Raw::Word("10.0.0.0/8,::1".into())).expect("networks"),
            header,
            protocol: ProxyProtocol::Off,
        };
        let by_x = proxies(ForwardedHeader::XForwardedFor);
        let by_rfc = proxies(ForwardedHeader::Forwarded);
        for (from, x_forwarded_for, forwarded, x_client, rfc_client) in [
            // Not a proxy: what it says is nothing.
            ("192.0.2.9", "203.0.113.7", "for=203.0.113.7", "192.0.2.9", "192.0.2.9"),
            // One proxy.
            ("10.0.0.1", "203.0.113.7", "", "203.0.113.7", "10.0.0.1"),
            ("::1", "", "for=203.0.113.7", "::1", "203.0.113.7"),
            ("::ffff:10.0.0.1", "203.0.113.7", "", "203.0.113.7", "10.0.0.1"),
            // Two of them, and a client that writes some of the list itself.
            ("10.0.0.1", "8.8.8.8, 203.0.113.7, 10.0.0.2", "", "203.0.113.7", "10.0.0.1"),
            ("10.0.0.1", "127.0.0.1, 203.0.113.7", "for=9.9.9.9", "203.0.113.7", "9.9.9.9"),
            // A client within the proxies' own network.
            ("10.0.0.1", "10.3.3.3", "", "10.3.3.3", "10.0.0.1"),
            // What cannot be read ends the walk.
            ("10.0.0.1", "203.0.113.7, unknown", "for=_hidden", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1", "unknown, 10.0.0.2", "for=\"", "10.0.0.2", "10.0.0.1"),
        ] {
            let headers = Forwarded {
                forwarded: forwarded.as_bytes().into(),
                x_forwarded_for: x_forwarded_for.as_bytes().into(),
            };
            let from = from.parse().expect("an address");
            let clients = [&by_x, &by_rfc].map(|by| by.client(from, &headers).to_string());
            assert_eq!(clients, [x_client, rfc_client], "{from} says {headers:?}");
        }
    }
}
