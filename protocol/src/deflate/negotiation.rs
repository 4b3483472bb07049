//! `Sec-WebSocket-Extensions`: what a client offers, what a server answers, and what they have
//! agreed on then (RFC 7692 sections 5 and 7.1).

use std::borrow::Cow;
use std::fmt::Write;

use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};

const NAME: &str = "permessage-deflate";

/// What both ends of a connection agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// How the server compresses.
    pub server: Sender,
    /// How the client compresses.
    pub client: Sender,
}

/// How one end compresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// Whether a message may refer to those before it; then the other end keeps a window.
    pub keeps_context: bool,
    /// The bits of its window that were agreed on, 8 to 15; nobody asked for fewer than 15 when
    /// absent.
    pub max_window_bits: Option<u8>,
}

impl Sender {
    /// How far back its references reach: two to the power of this many bytes.
    #[must_use]
    pub fn window_bits(self) -> u8 {
        self.max_window_bits.unwrap_or(WINDOW_BITS_MAX)
    }
}

impl Agreement {
    /// What a server makes of the offers in these lines of `Sec-WebSocket-Extensions`: the first
    /// that it can keep. Extensions it does not know and offers it cannot keep are passed over.
    pub fn from_offers<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Option<Self> {
        lines.flat_map(extensions).filter(|offer| offer.name == NAME).find_map(|offer| {
            let offered = Parameters::read(&offer)?;
            if offered.server_max_window_bits.is_some_and(|bits| bits < WINDOW_BITS_MIN) {
                return None;
            }
            Some(Self {
                server: Sender {
                    keeps_context: !offered.server_no_context_takeover,
                    max_window_bits: offered.server_max_window_bits,
                },
                // A server may ask this of any client. Without a value, `client_max_window_bits`
                // says that a server may ask for fewer; ours inflates with all of them anyway.
                client: Sender {
                    keeps_context: false,
                    max_window_bits: offered.client_max_window_bits.flatten(),
                },
            })
        })
    }

    /// The value of the server's `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn answer(&self) -> String {
        let mut value = NAME.to_owned();
        put_flag(&mut value, "server_no_context_takeover", !self.server.keeps_context);
        put_flag(&mut value, "client_no_context_takeover", !self.client.keeps_context);
        put_bits(&mut value, "server_max_window_bits", self.server.max_window_bits);
        put_bits(&mut value, "client_max_window_bits", self.client.max_window_bits);
        value
    }
}

/// What a client offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The server is to compress each message by itself.
    pub server_no_context_takeover: bool,
    /// The server is to use a window of at most this many bits.
    pub server_max_window_bits: Option<u8>,
    /// The client says that it compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The client can do with a smaller window, and says which it would use otherwise.
    pub client_max_window_bits: Option<u8>,
}

impl Default for Offer {
    /// What browsers offer.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            server_max_window_bits: None,
            client_no_context_takeover: false,
            client_max_window_bits: Some(WINDOW_BITS_MAX),
        }
    }
}

/// A server's `Sec-WebSocket-Extensions` does not answer what was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server chose extensions that were not offered")]
pub struct WrongAnswer;

impl Offer {
    /// The value of the client's `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn value(&self) -> String {
        let mut value = NAME.to_owned();
        put_flag(&mut value, "server_no_context_takeover", self.server_no_context_takeover);
        put_flag(&mut value, "client_no_context_takeover", self.client_no_context_takeover);
        put_bits(&mut value, "server_max_window_bits", self.server_max_window_bits);
        put_bits(&mut value, "client_max_window_bits", self.client_max_window_bits);
        value
    }

    /// What was agreed on, by the server's lines of `Sec-WebSocket-Extensions`; nothing when there
    /// are none.
    ///
    /// # Errors
    /// The answer names something that was not offered, or leaves out what was insisted on.
    pub fn agreement<'h>(
        offer: Option<&Self>,
        lines: impl Iterator<Item = &'h [u8]>,
    ) -> Result<Option<Agreement>, WrongAnswer> {
        let mut chosen = lines.flat_map(extensions);
        let Some(answer) = chosen.next() else { return Ok(None) };
        let (Some(offer), None, true) = (offer, chosen.next(), answer.name == NAME) else {
            return Err(WrongAnswer);
        };
        let answered = Parameters::read(&answer).ok_or(WrongAnswer)?;
        let at_most = |answered: Option<u8>, offered: Option<u8>| {
            answered.is_some_and(|bits| bits <= offered.unwrap_or(WINDOW_BITS_MAX))
        };
        let forgets_as_asked =
            answered.server_no_context_takeover || !offer.server_no_context_takeover;
        let server_bits = answered.server_max_window_bits;
        let server_fits = match offer.server_max_window_bits {
            Some(_) => at_most(server_bits, offer.server_max_window_bits),
            None => true,
        };
        let client_fits = match answered.client_max_window_bits {
            None => true,
            Some(bits) => {
                let offered = offer.client_max_window_bits;
                offered.is_some() && at_most(bits, offered)
            }
        };
        if !(forgets_as_asked && server_fits && client_fits) {
            return Err(WrongAnswer);
        }
        let client_forgets = answered.client_no_context_takeover;
        Ok(Some(Agreement {
            server: Sender {
                keeps_context: !answered.server_no_context_takeover,
                max_window_bits: server_bits,
            },
            client: Sender {
                keeps_context: !client_forgets && !offer.client_no_context_takeover,
                max_window_bits: answered.client_max_window_bits.flatten(),
            },
        }))
    }
}

fn put_flag(value: &mut String, name: &str, is_set: bool) {
    if is_set {
        let _ = write!(value, "; {name}");
    }
}

fn put_bits(value: &mut String, name: &str, bits: Option<u8>) {
    if let Some(bits) = bits {
        let _ = write!(value, "; {name}={bits}");
    }
}

/// The parameters of one offer or answer.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Its value may be left out.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` when one is unknown, comes twice, or has a value it must not have (RFC 7692 section
    /// 7: such an offer is declined, such an answer fails the connection).
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is_new = match *name {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut read.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut read.client_no_context_takeover, true)
                }
                "server_max_window_bits" => {
                    read.server_max_window_bits.replace(window_bits(value?)?).is_none()
                }
                "client_max_window_bits" => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    read.client_max_window_bits.replace(bits).is_none()
                }
                // Whatever else it is, nobody here could keep it.
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }
}

/// 8 to 15 in decimal, without a leading zero or a sign.
fn window_bits(value: &str) -> Option<u8> {
    (8..=WINDOW_BITS_MAX).find(|bits| bits.to_string() == value)
}

/// One element of the header: `name; parameter; parameter=value; parameter="value"`.
struct Extension<'h> {
    name: &'h str,
    parameters: Vec<(&'h str, Option<Cow<'h, str>>)>,
}

/// The elements of one header line. Those that are not ASCII or have no name are left out.
fn extensions(line: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    let line = str::from_utf8(line).unwrap_or_default();
    split(line, ',').filter_map(|element| {
        let mut parts = split(element, ';');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let parameters = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
            None => (part, None),
        });
        Some(Extension { name, parameters: parameters.collect() })
    })
}

/// The parts between separators that are not in quotes, trimmed.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |char| {
        let escapes = is_quoted && !is_escaped && char == '\\';
        if char == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = escapes;
        char == separator && !is_quoted
    });
    parts.map(str::trim)
}

/// What a value in quotes stands for. One whose quote does not end stands for itself, which no
/// parameter takes.
fn unquoted(value: &str) -> Cow<'_, str> {
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside.filter(|_| value.len() > 1) else { return Cow::Borrowed(value) };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut plain = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&str]) -> Option<String> {
        let lines = lines.iter().map(|line| line.as_bytes());
        Agreement::from_offers(lines).map(|agreement| agreement.answer())
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_answered() {
        let plain = "permessage-deflate; client_no_context_takeover";
        for (lines, expected) in [
            (&["permessage-deflate"][..], Some("")),
            (&["permessage-deflate; client_max_window_bits"], Some("")),
            (
                &["permessage-deflate; client_max_window_bits=10"],
                Some("; client_max_window_bits=10"),
            ),
            (&["permessage-deflate; server_max_window_bits=9"], Some("; server_max_window_bits=9")),
            (
                &["permessage-deflate;server_max_window_bits = \"1\\0\""],
                Some("; server_max_window_bits=10"),
            ),
            (&["permessage-deflate; client_no_context_takeover"], Some("")),
            (&["x-webkit-deflate-frame, permessage-deflate"], Some("")),
            (&["x; y=\"a, permessage-deflate; z\""], None),
            (&["x; y=\"a\\\", b\", permessage-deflate"], Some("")),
            (&["permessage-bzip2", "permessage-deflate"], Some("")),
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], Some("")),
            (
                &["permessage-deflate; mystery", "permessage-deflate; server_max_window_bits=12"],
                Some("; server_max_window_bits=12"),
            ),
            (&["permessage-deflate; server_max_window_bits"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits=7"], None),
            (&["permessage-deflate; server_max_window_bits=09"], None),
            (&["permessage-deflate; server_max_window_bits=+9"], None),
            (&["permessage-deflate; server_max_window_bits="], None),
            (&["permessage-deflate; server_max_window_bits=\"9"], None),
            (&["permessage-deflate; client_max_window_bits=0"], None),
            (&["permessage-deflate; server_no_context_takeover=1"], None),
            (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
            (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], None),
            (&["permessage-deflate;"], None),
            (&["", ",", ";", ";;=,=\"", "\"permessage-deflate\""], None),
            (&["Permessage-Deflate"], None),
        ] {
            let expected = expected.map(|rest| format!("{plain}{rest}"));
            assert_eq!(answer(lines), expected, "{lines:?}");
        }
        let forgets = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let lines = ["permessage-deflate; server_no_context_takeover"];
        assert_eq!(answer(&lines).as_deref(), Some(forgets));
    }

    #[test]
    fn both_ends_agree_on_the_same() {
        let bits = [None, Some(9), Some(12), Some(15)];
        for flags in 0..4 {
            for server_max_window_bits in bits {
                for client_max_window_bits in bits {
                    let offer = Offer {
                        server_no_context_takeover: flags & 1 != 0,
                        server_max_window_bits,
                        client_no_context_takeover: flags & 2 != 0,
                        client_max_window_bits,
                    };
                    let value = offer.value();
                    let agreement = Agreement::from_offers([value.as_bytes()].into_iter())
                        .unwrap_or_else(|| panic!("{value}"));
                    let answer = agreement.answer();
                    let lines = [answer.as_bytes()].into_iter();
                    let understood = Offer::agreement(Some(&offer), lines);
                    assert_eq!(understood, Ok(Some(agreement)), "{value}: {answer}");
                }
            }
        }
    }

    #[test]
    fn a_client_takes_only_an_answer_to_its_offer() {
        let default = Offer::default();
        let none = Offer { client_max_window_bits: None, ..default };
        let twelve = Offer { server_max_window_bits: Some(12), ..default };
        let forgetful = Offer { server_no_context_takeover: true, ..default };
        let tight = Offer { client_max_window_bits: Some(10), ..default };
        for (offer, answer, is_taken) in [
            (Some(default), "permessage-deflate", true),
            (Some(default), "permessage-deflate; server_no_context_takeover", true),
            (Some(default), "permessage-deflate; client_no_context_takeover", true),
            (Some(default), "permessage-deflate; server_max_window_bits=8", true),
            (Some(default), "permessage-deflate; client_max_window_bits=8", true),
            (Some(default), "permessage-deflate; client_max_window_bits", false),
            (Some(none), "permessage-deflate; client_max_window_bits=15", false),
            (Some(tight), "permessage-deflate; client_max_window_bits=11", false),
            (Some(tight), "permessage-deflate; client_max_window_bits=10", true),
            (Some(twelve), "permessage-deflate; server_max_window_bits=13", false),
            (Some(twelve), "permessage-deflate", false),
            (Some(twelve), "permessage-deflate; server_max_window_bits=9", true),
            (Some(forgetful), "permessage-deflate", false),
            (Some(default), "permessage-deflate; mystery", false),
            (Some(default), "permessage-deflate, permessage-deflate", false),
            (Some(default), "permessage-bzip2", false),
            (Some(default), "", true),
            (None, "", true),
            (None, "permessage-deflate", false),
        ] {
            let understood = Offer::agreement(offer.as_ref(), [answer.as_bytes()].into_iter());
            assert_eq!(understood.is_ok(), is_taken, "{offer:?} {answer}");
        }
    }
}
