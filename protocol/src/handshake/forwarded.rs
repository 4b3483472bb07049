//! What proxies say about whom they speak for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address it was called from, so a list reads client first, nearest proxy
//! last, and whatever the client itself sent stands in front of what proxies added. Both readers
//! therefore go from right to left: what a trusted proxy wrote is read before anything that a
//! client could have made up, also when that has a quote without an end.

use std::net::{IpAddr, SocketAddr};

/// The addresses in `X-Forwarded-For` lines joined by commas, nearest first; `None` for what is
/// not an address. Some proxies add ports, some put brackets around IPv6.
pub fn x_forwarded_for(list: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    elements(list).map(|element| address(element.trim_ascii()))
}

/// The `for` addresses in `Forwarded` lines joined by commas, nearest first; `None` for `unknown`,
/// for obfuscated names, and for an element without `for`.
pub fn forwarded_for(list: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    quoted_elements(list, b',').map(|element| {
        let node = quoted_elements(element, b';').find_map(|pair| {
            let (name, value) = pair.trim_ascii().split_at_checked(4)?;
            name.eq_ignore_ascii_case(b"for=").then_some(value)
        })?;
        let inner = node.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        address(inner.unwrap_or(node))
    })
}

/// An address, with or without a port, with or without brackets. An IPv4 address that was written
/// as IPv6 is what it stands for, so that it does not count as another one.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse::<IpAddr>().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.rsplit(|&byte| byte == b',').filter(|element| !element.trim_ascii().is_empty())
}

/// What stands between separators outside of quotes, last first.
fn quoted_elements(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    list.rsplit(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == separator && !is_quoted
    })
    .filter(|element| !element.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hops: impl Iterator<Item = Option<IpAddr>>) -> String {
        let hops = hops.map(|hop| hop.map_or_else(|| "?".to_owned(), |hop| hop.to_string()));
        hops.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_nearest_proxy_outwards() {
        for (list, expected) in [
            ("", ""),
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, 10.0.0.1", "10.0.0.1 203.0.113.7"),
            ("203.0.113.7:4711,10.0.0.1", "10.0.0.1 203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443 ,\t[::1]", "::1 2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("unknown, 10.0.0.1", "10.0.0.1 ?"),
            (",, 10.0.0.1,", "10.0.0.1"),
            ("1.2.3, 1.2.3.4.5, 01.2.3.4, \u{e9}", "? ? ? ?"),
            ("\"1.2.3.4", "?"),
        ] {
            assert_eq!(shown(x_forwarded_for(list.as_bytes())), expected, "{list:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_rfc_7239() {
        for (list, expected) in [
            ("", ""),
            // The examples of RFC 7239 section 4.
            ("for=\"_gazonk\"", "?"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17 192.0.2.43"),
            // And what others write.
            ("by=10.0.0.1;FOR=\"192.0.2.1:80\"", "192.0.2.1"),
            ("for=unknown, proto=https", "? ?"),
            ("for=[2001:db8::1]", "2001:db8::1"),
            ("for=\"::ffff:192.0.2.1\"", "192.0.2.1"),
            ("host=\"a, b; for=10.9.9.9\";for=192.0.2.1", "192.0.2.1"),
            ("forged=1.2.3.4", "?"),
        ] {
            assert_eq!(shown(forwarded_for(list.as_bytes())), expected, "{list:?}");
        }
    }

    #[test]
    fn what_a_client_made_up_cannot_hide_what_a_proxy_added() {
        for made_up in ["for=\"", "for=\"a\\\"", "\"", ";;;=\"\"\"", "for=\"10.0.0.1, ", "\u{ff}\""]
        {
            let list = format!("{made_up}, for=\"[2001:db8::7]:80\";proto=http");
            let nearest = forwarded_for(list.as_bytes()).next();
            assert_eq!(nearest, Some(Some("2001:db8::7".parse().expect("one"))), "{made_up:?}");
        }
    }
}
