//! The header of the PROXY protocol, version 2: who is behind a proxy, in binary and before
//! everything else on its connection, TLS included. The format is section 2.2 of
//! "The PROXY protocol, versions 1 & 2" (haproxy.org, doc/proxy-protocol.txt):
//!
//! ```text
//! 0                       12        13       14        16
//! | 0d0a0d0a000d0a515549540a | 2,cmd | family | length | addresses, ports, TLVs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header begins with: bytes that begin no request and no TLS.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature and the three fields behind it.
const FIXED_BYTES: usize = 16;

/// Longest header that is read. Addresses take 36 bytes; what follows them (TLVs about TLS and
/// the like) is passed over, and stays below half a KiB.
pub const PROXY_HEADER_BYTES_MAX: usize = 1024;

/// A whole header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyHeader {
    /// Who connected to the proxy. `None` when the proxy speaks for itself, as it does to see
    /// whether the server is well, or for something that has no IP address.
    pub client: Option<SocketAddr>,
    /// Its length in bytes.
    pub used: usize,
}

/// Why there is no header. Version 1 has a mistake of its own, because it is what people turn on
/// first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The readable version.
    #[error("the PROXY protocol header is of version 1; tell the proxy to send version 2")]
    Version1,
    /// Something else altogether.
    #[error("the connection does not begin with a PROXY protocol header of version 2")]
    Missing,
    /// The signature, and then something that has no meaning.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
}

impl ProxyHeader {
    /// Reads a header from the start of `bytes`. `Ok(None)` means that it is not complete yet.
    ///
    /// # Errors
    /// No further byte could make this a header.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        let known = bytes.len().min(SIGNATURE.len());
        if bytes[..known] != SIGNATURE[..known] {
            let is_version_1 = bytes.starts_with(b"PROXY ") || b"PROXY ".starts_with(bytes);
            // Its first letters alone may be a request's as well.
            return match (is_version_1, bytes.len() < 6) {
                (true, true) => Ok(None),
                (true, false) => Err(ProxyHeaderError::Version1),
                (false, _) => Err(ProxyHeaderError::Missing),
            };
        }
        let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
        let [.., command, family, high, low] = *fixed;
        let used = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if used > PROXY_HEADER_BYTES_MAX {
            return Err(ProxyHeaderError::Malformed);
        }
        // The high halves are the version and the address family, the low ones what the proxy
        // does and the transport.
        let is_understood = match (command, family >> 4) {
            // It speaks for itself; addresses have no meaning.
            (0x20, _) => true,
            (0x21, family) => family <= 3,
            _ => false,
        };
        if !is_understood {
            return Err(ProxyHeaderError::Malformed);
        }
        let Some(addresses) = bytes.get(FIXED_BYTES..used) else { return Ok(None) };
        let client = match (command, family >> 4) {
            (0x21, 1) => Some(ipv4_source(addresses).ok_or(ProxyHeaderError::Malformed)?),
            (0x21, 2) => Some(ipv6_source(addresses).ok_or(ProxyHeaderError::Malformed)?),
            // Unspecified, and sockets of the proxy's own machine.
            _ => None,
        };
        Ok(Some(Self { client, used }))
    }
}

/// Source and destination address, source and destination port.
fn ipv4_source(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; 12] = bytes.first_chunk()?;
    let address = Ipv4Addr::from(*bytes.first_chunk::<4>()?);
    Some(SocketAddr::new(IpAddr::V4(address), u16::from_be_bytes([bytes[8], bytes[9]])))
}

fn ipv6_source(bytes: &[u8]) -> Option<SocketAddr> {
    let bytes: &[u8; 36] = bytes.first_chunk()?;
    let address = Ipv6Addr::from(*bytes.first_chunk::<16>()?);
    let port = u16::from_be_bytes([bytes[32], bytes[33]]);
    Some(SocketAddr::new(IpAddr::V6(address).to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).expect("hex")).collect()
    }

    #[test]
    fn headers_name_the_client_whole_and_byte_by_byte() {
        let signature = "0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a";
        let v6 = "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 07";
        for (name, rest, client) in [
            ("IPv4", "21 11 00 0c cb 00 71 07 0a 00 00 01 d4 31 01 bb", Some("203.0.113.7:54321")),
            (
                "datagrams",
                "21 12 00 0c cb 00 71 07 0a 00 00 01 d4 31 01 bb",
                Some("203.0.113.7:54321"),
            ),
            (
                "TLVs behind it",
                "21 11 00 10 cb 00 71 07 0a 00 00 01 d4 31 01 bb 04 00 01 00",
                Some("203.0.113.7:54321"),
            ),
            ("IPv6", &format!("21 21 00 24 {v6} {v6} 00 50 01 bb"), Some("[2001:db8::7]:80")),
            ("the proxy itself", "20 00 00 00", None),
            (
                "the proxy itself, by address",
                "20 11 00 0c 01 01 01 01 02 02 02 02 00 01 00 02",
                None,
            ),
            ("unspecified", "21 00 00 00", None),
            ("a Unix socket", &format!("21 31 00 d8 {}", "00 ".repeat(216)), None),
        ] {
            let mut bytes = hex(&format!("{signature} {rest}"));
            let used = bytes.len();
            bytes.extend_from_slice(b"GET /");
            for end in 0..used {
                assert_eq!(ProxyHeader::parse(&bytes[..end]), Ok(None), "{name}, {end} bytes");
            }
            let client = client.map(|client| client.parse().expect("an address"));
            assert_eq!(
                ProxyHeader::parse(&bytes),
                Ok(Some(ProxyHeader { client, used })),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_header_of_version_2_is_refused_and_version_1_by_name() {
        let signature = "0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a";
        for (name, bytes, error) in [
            ("version 1", b"PROXY TCP4 1.2.3.4".to_vec(), ProxyHeaderError::Version1),
            ("a request", b"GET / HTTP/1.1\r\n".to_vec(), ProxyHeaderError::Missing),
            ("a PROPFIND", b"PROPF".to_vec(), ProxyHeaderError::Missing),
            ("TLS", hex("16 03 01"), ProxyHeaderError::Missing),
            ("one byte off", hex("0d 0a 0d 0a 00 0d 0a 51 55 49 54 0b"), ProxyHeaderError::Missing),
            ("version 3", hex(&format!("{signature} 31 11 00 0c")), ProxyHeaderError::Malformed),
            (
                "another command",
                hex(&format!("{signature} 22 11 00 0c")),
                ProxyHeaderError::Malformed,
            ),
            (
                "another family",
                hex(&format!("{signature} 21 41 00 00")),
                ProxyHeaderError::Malformed,
            ),
            (
                "too short",
                hex(&format!("{signature} 21 11 00 02 00 00")),
                ProxyHeaderError::Malformed,
            ),
            ("too long", hex(&format!("{signature} 21 11 ff ff")), ProxyHeaderError::Malformed),
        ] {
            assert_eq!(ProxyHeader::parse(&bytes), Err(error), "{name}");
        }
        assert_eq!(ProxyHeader::parse(b"PROX"), Ok(None), "it may still be version 1");
    }

    type Answer = Result<Option<ProxyHeader>, ProxyHeaderError>;

    /// Feeds bytes one by one, as a session does, until there is an answer; says which and behind
    /// how many bytes.
    fn parse_byte_by_byte(bytes: &[u8]) -> (usize, Answer) {
        let pieces = (0..=bytes.len()).map(|end| (end, ProxyHeader::parse(&bytes[..end])));
        let mut answers = pieces.filter(|(_, answer)| *answer != Ok(None));
        answers.next().unwrap_or((bytes.len(), Ok(None)))
    }

    /// Headers of every command, family and length, most of them in order.
    fn headers() -> impl Strategy<Value = Vec<u8>> {
        let fields = (
            prop_oneof![8 => Just(0x21_u8), 2 => Just(0x20), 1 => any::<u8>()],
            prop_oneof![8 => (0_u8..4).prop_map(|family| family << 4 | 1), 1 => any::<u8>()],
            prop_oneof![4 => vec(any::<u8>(), 0..80), 1 => vec(any::<u8>(), 0..1100)],
        );
        fields.prop_map(|(command, family, rest)| {
            let length = (rest.len() as u16).to_be_bytes();
            [&SIGNATURE[..], &[command, family], &length, &rest].concat()
        })
    }

    /// Headers of which some bytes are others, and what follows them.
    fn mutated() -> impl Strategy<Value = Vec<u8>> {
        let mutations = vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
        let tail = vec(any::<u8>(), 0..40);
        (headers(), mutations, tail).prop_map(|(mut bytes, mutations, tail)| {
            for (index, byte) in mutations {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend_from_slice(&tail);
            bytes
        })
    }

    /// What holds for all bytes there are.
    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        let whole = ProxyHeader::parse(bytes);
        let (needed, answer) = parse_byte_by_byte(bytes);
        // The first answer stands, whatever comes behind it: nothing depends on how bytes arrive.
        prop_assert_eq!(whole, answer);
        prop_assert!(needed <= PROXY_HEADER_BYTES_MAX, "{} bytes before an answer", needed);
        if let Ok(Some(header)) = answer {
            prop_assert_eq!(header.used, needed, "it is known with its last byte");
            let announced = u16::from_be_bytes([bytes[14], bytes[15]]);
            prop_assert_eq!(header.used, FIXED_BYTES + usize::from(announced));
            prop_assert!(header.client.is_none() || bytes[12] == 0x21);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_header_in_any_shape_has_one_answer_and_needs_no_more_than_it_announces(
            bytes in mutated(),
        ) {
            check(&bytes)?;
        }

        #[test]
        fn bytes_that_are_no_header_have_one_answer(bytes in vec(any::<u8>(), 0..40)) {
            check(&bytes)?;
        }

        #[test]
        fn a_client_is_read_from_the_first_addresses_whatever_follows_them(
            address in any::<[u8; 4]>(),
            port: u16,
            extensions in vec(any::<u8>(), 0..100),
        ) {
            let length = (12 + extensions.len() as u16).to_be_bytes();
            let ports = [port.to_be_bytes(), [0x01, 0xbb]].concat();
            let head = [&SIGNATURE[..], &[0x21, 0x11], &length, &address, &[10, 0, 0, 1], &ports];
            let bytes = [&head.concat()[..], &extensions].concat();
            check(&bytes)?;
            let client = Some(SocketAddr::new(Ipv4Addr::from(address).into(), port));
            prop_assert_eq!(
                ProxyHeader::parse(&bytes),
                Ok(Some(ProxyHeader { client, used: bytes.len() }))
            );
        }
    }
}
