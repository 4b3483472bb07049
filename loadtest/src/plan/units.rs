//! How numbers are typed: counts, rates, times, sizes, cores, addresses, with their units.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Churn, Scheme, Url};
use crate::scenario::bots::SlowReaders;

/// Most cores or addresses in one list: far more than any machine has of either.
const LIST_MAX: usize = 4096;

/// `ws://HOST:PORT/PATH`, or the same with `wss`.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let schemes = [("ws://", Scheme::Ws), ("wss://", Scheme::Wss)];
    let found =
        schemes.into_iter().find_map(|(prefix, scheme)| Some((text.strip_prefix(prefix)?, scheme)));
    let Some((rest, scheme)) = found else {
        return Err("expected ws://HOST:PORT/ws, or wss:// when it is encrypted".to_owned());
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return Err("expected ws://HOST:PORT/ws, the host is missing".to_owned());
    }
    // The port follows the last colon; colons inside brackets belong to an IPv6 address.
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let authority =
        if has_port { authority.to_owned() } else { format!("{authority}:{}", scheme.port()) };
    let path = if path.is_empty() { "/ws" } else { path };
    Ok(Url { scheme, authority, path: path.to_owned() })
}

/// A count with an optional `k` or `m`: `250`, `5k`, `1.5k`.
fn parse_number(text: &str) -> Option<u32> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let number = parse_decimal(digits)? * factor;
    (number.fract() == 0.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}

/// Digits with at most one point; no sign, no exponent.
pub(crate) fn parse_decimal(digits: &str) -> Option<f64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    digits.parse().ok()
}

pub(crate) fn parse_count(text: &str) -> Result<NonZeroU32, String> {
    let number = parse_number(text).ok_or("expected a count such as 250 or 5k")?;
    NonZeroU32::new(number).ok_or_else(|| "must be at least 1".to_owned())
}

pub(crate) fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    parse_number(number).ok_or_else(|| "expected a rate such as 20, 20/s or 2k/s".to_owned())
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time with its unit, such as 30s, 250ms or 2m".to_owned();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number = parse_decimal(digits).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// A count that may be zero.
pub(crate) fn parse_whole(text: &str) -> Result<u32, String> {
    parse_number(text).ok_or_else(|| "expected a count such as 0, 250 or 5k".to_owned())
}

/// Bytes from the smallest to the largest: `20..200`, or a single size.
pub(crate) fn parse_sizes(text: &str) -> Result<(u32, u32), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (parse_number(least.trim()), parse_number(most.trim())) {
        (Some(least), Some(most)) if least <= most => Ok((least, most)),
        _ => Err("expected bytes such as 64 or 20..200".to_owned()),
    }
}

/// Bytes per second: `4KB/s`, `64KiB/s`, `500B/s`.
pub(crate) fn parse_read_rate(text: &str) -> Result<u32, String> {
    let units = [("KiB/s", 1024.0), ("KB/s", 1e3), ("kB/s", 1e3), ("MB/s", 1e6), ("B/s", 1.0)];
    let found = units
        .into_iter()
        .find_map(|(unit, factor)| Some(parse_decimal(text.strip_suffix(unit)?.trim())? * factor));
    found
        .filter(|bytes| *bytes >= 1.0 && *bytes <= 1e9)
        .map(|bytes| bytes as u32)
        .ok_or_else(|| "expected bytes per second, such as 4KB/s".to_owned())
}

/// Clients that read slowly: `1%@4KB/s`.
pub(super) fn parse_slow_readers(text: &str) -> Result<SlowReaders, String> {
    let wrong = || "expected a share and what each of it reads, such as 1%@4KB/s".to_owned();
    let (share, rate) = text.split_once('@').ok_or_else(wrong)?;
    let share_ppm = parse_share(share).map_err(|_| wrong())?;
    if !(1..=1_000_000).contains(&share_ppm) {
        return Err("the share must be more than 0% and at most 100%".to_owned());
    }
    Ok(SlowReaders { share_ppm, bytes_per_s: parse_read_rate(rate).map_err(|_| wrong())? })
}

/// Clients that are replaced: `500/s`, or of all of them `1%/s`.
pub(super) fn parse_churn(text: &str) -> Result<Churn, String> {
    let wrong =
        || "expected clients or a share of them per second, such as 500/s or 1%/s".to_owned();
    let each_second = text.strip_suffix("/s").ok_or_else(wrong)?;
    if each_second.ends_with('%') {
        return parse_share(each_second).map(Churn::SharePpm).map_err(|_| wrong());
    }
    parse_number(each_second).map(Churn::Clients).ok_or_else(wrong)
}

/// A share such as `5%`, in parts of a million.
pub(super) fn parse_share(text: &str) -> Result<u64, String> {
    let percent = text.strip_suffix('%').and_then(parse_decimal).filter(|p| *p <= 1e6);
    percent
        .map(|p| (p * 1e4).round() as u64)
        .ok_or_else(|| "expected a share such as 5%".to_owned())
}

/// A list of numbers and ranges: `0,2-3`.
pub(super) fn parse_cores(text: &str) -> Result<List<usize>, String> {
    let wrong = || "expected core numbers and ranges, such as 0,2-3".to_owned();
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.parse().map_err(|_| wrong())?;
        let last: usize = last.parse().map_err(|_| wrong())?;
        if first > last || last - first >= LIST_MAX {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    if cores.len() > LIST_MAX {
        return Err(wrong());
    }
    Ok(List(cores))
}

/// A list of addresses and ranges of IPv4 addresses: `127.0.0.2-9`, `10.0.0.1,10.0.0.7`.
pub(super) fn parse_addresses(text: &str) -> Result<List<IpAddr>, String> {
    let wrong = || {
        "expected addresses of this machine, such as 127.0.0.2-9 or 10.0.0.1,10.0.0.2".to_owned()
    };
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let Some((first, last)) = part.split_once('-') else {
            addresses.push(part.parse().map_err(|_| wrong())?);
            continue;
        };
        let first: Ipv4Addr = first.parse().map_err(|_| wrong())?;
        let [a, b, c, _] = first.octets();
        let last = match last.parse::<u8>() {
            Ok(last) => Ipv4Addr::new(a, b, c, last),
            Err(_) => last.parse().map_err(|_| wrong())?,
        };
        let (first, last) = (first.to_bits(), last.to_bits());
        if first > last || (last - first) as usize >= LIST_MAX {
            return Err(wrong());
        }
        addresses.extend((first..=last).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))));
    }
    if addresses.len() > LIST_MAX {
        return Err(wrong());
    }
    Ok(List(addresses))
}

/// A list that is one argument. A bare `Vec` would be many to clap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_a_port_and_a_path() {
        for (text, scheme, authority, path) in [
            ("ws://127.0.0.1:7420/ws", Scheme::Ws, "127.0.0.1:7420", "/ws"),
            ("wss://example.org", Scheme::Wss, "example.org:443", "/ws"),
            ("ws://example.org", Scheme::Ws, "example.org:80", "/ws"),
            ("ws://[::1]:7420", Scheme::Ws, "[::1]:7420", "/ws"),
            ("ws://[::1]/ws/arena", Scheme::Ws, "[::1]:80", "/ws/arena"),
        ] {
            let (authority, path) = (authority.to_owned(), path.to_owned());
            let expected = Url { scheme, authority, path };
            assert_eq!(parse_url(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn cores_are_numbers_and_ranges() {
        for (text, cores) in [("0", vec![0]), ("0,2-4", vec![0, 2, 3, 4]), ("3-3", vec![3])] {
            assert_eq!(parse_cores(text), Ok(List(cores)), "{text}");
        }
        for text in ["", "a", "1-", "-1", "3-2", "1,,2", "0-9999999", "1-2-3"] {
            assert!(parse_cores(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_named_one_by_one_or_as_a_range() {
        for (text, first, count) in [
            ("127.0.0.2-9", "127.0.0.2", 8),
            ("127.0.0.2", "127.0.0.2", 1),
            ("::1", "::1", 1),
            ("127.0.0.254-127.0.1.1", "127.0.0.254", 4),
            ("10.0.0.1,127.0.0.2-3", "10.0.0.1", 3),
        ] {
            let List(addresses) = parse_addresses(text).expect(text);
            assert_eq!(addresses.len(), count, "{text}");
            assert_eq!(addresses[0].to_string(), first, "{text}");
        }
        for text in ["", "localhost", "127.0.0.9-2", "127.0.0.2-", "::1-::2", "127.0.0.2-300"] {
            assert!(parse_addresses(text).is_err(), "{text}");
        }
    }

    #[test]
    fn slow_readers_and_churn_name_a_share_or_a_number() {
        for (text, share_ppm, bytes_per_s) in [
            ("1%@4KB/s", 10_000, 4_000),
            ("0.5%@64KiB/s", 5_000, 65_536),
            ("100%@1B/s", 1_000_000, 1),
        ] {
            assert_eq!(
                parse_slow_readers(text),
                Ok(SlowReaders { share_ppm, bytes_per_s }),
                "{text}"
            );
        }
        for text in
            ["", "1%", "1@4KB/s", "0%@4KB/s", "101%@4KB/s", "1%@4KB", "1%@0B/s", "1%@-4KB/s"]
        {
            assert!(parse_slow_readers(text).is_err(), "{text}");
        }
        for (text, churn) in [
            ("500/s", Some(Churn::Clients(500))),
            ("1%/s", Some(Churn::SharePpm(10_000))),
            ("0.5k/s", Some(Churn::Clients(500))),
            ("500", None),
            ("1%", None),
            ("/s", None),
            ("-1/s", None),
        ] {
            assert_eq!(parse_churn(text).ok(), churn, "{text}");
        }
    }

    #[test]
    fn sizes_are_one_number_or_two() {
        for (text, sizes) in [
            ("64", Some((64, 64))),
            ("20..200", Some((20, 200))),
            ("1k .. 2k", Some((1000, 2000))),
            ("9..8", None),
            ("..8", None),
            ("x", None),
        ] {
            assert_eq!(parse_sizes(text).ok(), sizes, "{text}");
        }
    }

    #[test]
    fn shares_carry_their_percent_sign() {
        for (text, ppm) in [("5%", Some(50_000)), ("0.5%", Some(5_000)), ("0%", Some(0))] {
            assert_eq!(parse_share(text).ok(), ppm, "{text}");
        }
        for text in ["5", "-5%", "%", "x%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
