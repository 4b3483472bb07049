//! The table of keys: each key's name, type, default, range, flag and meaning stand here once.
//! The file, the environment, the command line, `config default` and `config effective` are all
//! driven by it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use tickloom_protocol::limits::{CLIENT_FRAGMENTS_MAX, CLIENT_MESSAGE_BYTES_MAX};

use crate::config::cores::CoreList;
use crate::config::log::{LogFormat, LogLevel};
use crate::config::node::Raw;
use crate::config::units::{Ceiling, Limit, Rate, Size};
use crate::config::value::{Count, Folder, NamedFile, Value, accepts_within, read_within};
use crate::http::ApiKey;
use crate::origins::OriginPolicy;
use crate::proxies::{ForwardedHeader, Networks};
use crate::recording::Recording;
use crate::room::logic::RoomSpec;

/// Where a value comes from; later ones win.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// The file and the line, as `NAME:LINE`.
        place: String,
        /// The value's bytes.
        span: Range<usize>,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { place, .. } => f.write_str(place),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// One key of the table, for code that treats all keys alike.
pub struct Key {
    /// The section it is in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it is and what it costs, in lines.
    pub about: &'static [&'static str],
    /// The flag that sets it.
    pub flag: Option<Flag>,
    /// What it accepts, to follow "takes".
    pub accepts: fn() -> String,
    /// Sets it.
    pub set: fn(&mut Settings, &Raw, Origin) -> Result<(), String>,
    /// Its value as TOML.
    pub show: fn(&Settings) -> String,
    /// Where its value comes from.
    pub origin: fn(&Settings) -> &Origin,
}

/// A flag of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name without the dashes.
    pub name: &'static str,
    /// What its value is called; a flag without one is a switch.
    pub value_name: Option<&'static str>,
}

impl Key {
    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its variable in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}_{}", self.section, self.name).to_uppercase()
    }

    /// The key of this path.
    #[must_use]
    pub fn find(section: &str, name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| (key.section, key.name) == (section, name))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// What all our variables begin with.
pub const VARIABLE_PREFIX: &str = "TICKLOOM_";

macro_rules! settings {
    ($(
        #[doc = $section_doc:literal]
        $section:ident: $Section:ident {$(
            $(#[doc = $doc:literal])+
            $(@flag $flag:literal $($value_name:literal)?;)?
            $key:ident: $Type:ty = $default:expr $(, within $range:expr)?;
        )+}
    )+) => {
        /// Everything that can be configured, with where each value comes from.
        #[derive(Clone, Debug)]
        pub struct Settings {$(
            #[doc = $section_doc]
            pub $section: $Section,
        )+}

        $(
            #[doc = $section_doc]
            #[derive(Clone, Debug)]
            pub struct $Section {$(
                $(#[doc = $doc])+
                pub $key: Given<$Type>,
            )+}
        )+

        impl Default for Settings {
            fn default() -> Self {
                Self {$(
                    $section: $Section {$(
                        $key: Given { value: $default, origin: Origin::Default },
                    )+},
                )+}
            }
        }

        /// The sections and what they are about, in the order people read them.
        pub const SECTIONS: &[(&str, &str)] = &[$((stringify!($section), $section_doc),)+];

        /// All keys, section by section.
        pub static KEYS: &[Key] = &[$($(
            Key {
                section: stringify!($section),
                name: stringify!($key),
                about: &[$($doc,)+],
                flag: settings!(@flag $($flag $($value_name)?)?),
                accepts: || settings!(@accepts $Type $(, $range)?),
                set: |settings, raw, origin| {
                    let value = settings!(@read $Type, raw $(, $range)?)?;
                    settings.$section.$key = Given { value, origin };
                    Ok(())
                },
                show: |settings| settings.$section.$key.value.show(),
                origin: |settings| &settings.$section.$key.origin,
            },
        )+)+];
    };
    (@flag) => { None };
    (@flag $flag:literal) => { Some(Flag { name: $flag, value_name: None }) };
    (@flag $flag:literal $value_name:literal) => {
        Some(Flag { name: $flag, value_name: Some($value_name) })
    };
    (@accepts $Type:ty) => { <$Type as Value>::accepts() };
    (@accepts $Type:ty, $range:expr) => { accepts_within::<$Type>(&$range) };
    (@read $Type:ty, $raw:ident) => { <$Type as Value>::read($raw) };
    (@read $Type:ty, $raw:ident, $range:expr) => { read_within::<$Type>($raw, &$range) };
}

/// What any room may tick at.
pub const TICK_RATES: RangeInclusive<Rate> =
    Rate(RoomSpec::TICK_RATE_HZ_MIN)..=Rate(RoomSpec::TICK_RATE_HZ_MAX);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn kib(count: usize) -> Size {
    Size(count * 1024)
}

settings! {
    /// Where the server listens and how much of the machine it takes.
    server: Server {
        /// Address to listen on; port 0 takes a free one.
        /// Anything but a loopback address is open to everybody who reaches the machine.
        @flag "listen" "ADDRESS";
        listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7420);

        /// Cores to run on, one pinned thread each; "auto" takes all that the process may use.
        @flag "cores" "LIST";
        cores: Option<CoreList> = None;

        /// Connections at the same time; further ones get 503. An idle one costs about 2 KiB and
        /// a file descriptor; "auto" takes as many as the process may open files.
        @flag "connections-max" "COUNT";
        connections_max: Option<Count> = None;

        /// Memory of the process above which new connections and rooms are refused; "none" leaves
        /// that to the operating system, which ends the process instead.
        memory_max: Ceiling = Ceiling(None);

        /// Proxies in front of the server. Only connections from these addresses may say on
        /// behalf of whom they come; "none" believes nobody.
        trusted_proxies: Networks = Networks::loopback();

        /// The header in which they say it: "x-forwarded-for" or "forwarded" (RFC 7239). The other
        /// one is not looked at, because such a proxy passes it on as the client made it up.
        forwarded_header: ForwardedHeader = ForwardedHeader::XForwardedFor;

        /// Every connection from a trusted proxy begins with a PROXY protocol header of version 2
        /// (nginx stream: `proxy_protocol`, HAProxy: `send-proxy-v2`). One without is refused,
        /// also when it comes from this machine and loopback is trusted.
        proxy_protocol: bool = false;

        /// Seed of the rooms' randomness and of where rooms live; "auto" draws another one at
        /// each start. For repeating a run.
        @flag "seed" "NUMBER";
        seed: Option<u64> = None;
    }

    /// Who may connect by WebSocket, and how long a client may take for what.
    websocket: WebSocket {
        /// Pages that may connect: "same-host" are those whose host and port are the request's
        /// own, "*" are all; or a list such as `["https://example.com"]`. What is no browser may
        /// always. Behind a proxy "same-host" needs the `Host` that the browser sent.
        origins: OriginPolicy = OriginPolicy::SameHost;

        /// Silence before the server pings. Below 60s, after which many proxies cut a silent
        /// connection; a shorter one costs a small frame per client and interval.
        ping_interval: Duration = s(25), within s(1)..=s(3600);

        /// From a ping to any sign of life, before the connection closes.
        pong_timeout: Duration = s(8), within ms(100)..=s(3600);

        /// From the connection to a complete request head.
        head_timeout: Duration = s(5), within ms(100)..=s(600);

        /// From the upgrade, or from leaving a room, to a seat in one.
        join_timeout: Duration = s(10), within ms(100)..=s(3600);

        /// Bytes of one message, over all its fragments; a longer one closes with 1009. The most
        /// memory that a client takes while it sends one.
        message_max: Size = Size(CLIENT_MESSAGE_BYTES_MAX), within kib(1)..=kib(64 << 10);

        /// Fragments of one message, empty ones included; more close with 1008.
        fragments_max: Limit<Count> = Limit(Some(Count::of(CLIENT_FRAGMENTS_MAX as usize)));

        /// From the first byte of a message to its last, for who has a seat; one that takes longer
        /// closes with 1008. Time that `limits` takes from a client counts, too.
        message_timeout: Duration = s(30), within ms(100)..=s(3600);

        /// From the last message to the end of the connection.
        drain_timeout: Duration = s(2), within ms(100)..=s(600);

        /// Compress messages for clients that take it (permessage-deflate, RFC 7692). Of a room
        /// type, [rooms.NAME] says whether it pays; what clients send is inflated either way.
        compression: bool = true;

        /// Messages shorter than this are sent plain.
        compression_min: Size = Size(128), within Size(0)..=kib(1 << 20);

        /// Rooms that compress with a window on what they sent before, which takes 380 KiB each
        /// while there are members for it. Others compress each message by itself.
        compression_rooms_max: Count = Count::of(256);
    }

    /// Encryption. With it the port speaks https and wss, and nothing else.
    tls: TlsSection {
        /// Certificate chain in PEM, the server's own first; needs `key`. SIGHUP has both files
        /// read again, for new connections. A connection costs about 8 KiB more, and 0.1 ms of a
        /// core to begin with.
        @flag "tls-cert" "FILE";
        cert: NamedFile = NamedFile(None);

        /// Private key of the certificate in PEM, not encrypted.
        @flag "tls-key" "FILE";
        key: NamedFile = NamedFile(None);

        /// Show a certificate for localhost and the listen address that is made at start and that
        /// nobody vouches for. For developers: clients must be told to accept it.
        @flag "dev-cert";
        dev_cert: bool = false;

        /// From the connection to keys that both ends have agreed on.
        handshake_timeout: Duration = s(5), within ms(100)..=s(600);

        /// Handshakes begun per second, over all cores. Whoever comes beyond that is not refused
        /// but waits, longest first, for its turn within `handshake_timeout`: ticks come first.
        /// So many full ones take about an eighth of a core. Unlike `limits.handshakes_rate` it
        /// makes no exceptions for exempt addresses and for proxies that pass TLS through.
        handshakes_pace: Limit<Rate> = Limit(Some(Rate(1000)));
    }

    /// How fast the built-in games run.
    tick: Tick {
        /// Ticks per second of the built-in rooms. Each tick costs processor time and bandwidth
        /// per client.
        @flag "tick-rate" "HZ";
        rate: Rate = Rate(20), within TICK_RATES;
    }

    /// What holds for the rooms together.
    room: Rooms {
        /// Rooms at the same time; joins that need another one are refused.
        @flag "rooms-max" "COUNT";
        rooms_max: Count = Count::of(10_000);

        /// How long a room without members keeps its state.
        linger: Duration = s(10), within ms(0)..=s(86_400);

        /// How long a member whose connection broke keeps its seat, and may come back to it as if
        /// nothing had happened; 0s takes it at once. It counts as a member for so long. A room
        /// type may say otherwise.
        grace: Duration = s(20), within ms(0)..=s(3600);

        /// Where to write how rooms failed: one JSON file each, at most 100, the oldest replaced.
        failures_dir: Folder = Folder(None);

        /// What to keep of rooms, for `tickloom replay`: "inputs" is everything that happens to
        /// them, at about 5 bytes per input; "off" leaves it to the types, `[rooms.NAME]` among
        /// them. It holds what players send and how they are called.
        record: Recording = Recording::Off;

        /// Where to keep it: a file for each room. Without, nothing is recorded.
        recordings_dir: Folder = Folder(None);

        /// Bytes of one recording, which ends then.
        recording_max: Size = kib(64 << 10), within kib(1)..=kib(1 << 20);

        /// Bytes of all recordings; the oldest are replaced.
        recordings_max: Size = kib(1 << 20), within kib(1)..=kib(1 << 30);
    }

    /// What one client may ask of the server; "none" is without a limit, for measurements.
    limits: LimitsSection {
        /// Messages per second of one connection, in the long run. Who sends more is read no
        /// faster than this. More than any room ticks, so that an input per tick fits.
        messages_rate: Limit<Rate> = Limit(Some(Rate(256)));

        /// Messages at once: what a client sends after its line stood still for two seconds.
        messages_burst: Count = Count::of(512);

        /// Bytes per second of one connection, in the long run.
        bytes_rate: Limit<Size> = Limit(Some(kib(256)));

        /// Bytes at once; room for some messages of the largest kind.
        bytes_burst: Size = kib(512), within kib(64)..=kib(1 << 20);

        /// Pings and pongs of WebSocket per second of one connection; each ping costs an answer.
        controls_rate: Limit<Rate> = Limit(Some(Rate(10)));

        /// Pings and pongs at once.
        controls_burst: Count = Count::of(20);

        /// How far a client may get ahead of its rates before its connection closes. Until then
        /// it is merely not read, at most for so long.
        lead_max: Duration = s(10), within ms(0)..=s(3600);

        /// Rooms that may be made for one connection; joins that need another one are refused.
        rooms_per_connection_max: Limit<Count> = Limit(Some(Count::of(32)));

        /// Addresses that the limits below do not count. Trusted proxies are not counted either,
        /// but those they speak for are.
        exempt: Networks = Networks::loopback();

        /// Connections of one address at the same time; further ones get 429. A network of 64
        /// bits is one address of IPv6. While more than nine tenths of all places are taken, an
        /// address may take only a quarter of this. As many seats of one address are kept when
        /// their connections break; further ones are given back at once.
        connections_per_address_max: Limit<Count> = Limit(Some(Count::of(200)));

        /// New connections per second of one address; further ones get 429.
        handshakes_per_address: Limit<Rate> = Limit(Some(Rate(20)));

        /// New connections of one address at once: a class or an office behind one router.
        handshakes_per_address_burst: Count = Count::of(100);

        /// New connections per second of all addresses; further ones get 503. Ticks come first:
        /// with full TLS handshakes, so many take about a fifth of a core.
        handshakes_rate: Limit<Rate> = Limit(Some(Rate(2000)));

        /// New connections of all addresses at once.
        handshakes_burst: Count = Count::of(4000);

        /// Rooms per second made for one address.
        rooms_per_address: Limit<Rate> = Limit(Some(Rate(1)));

        /// Rooms made for one address at once.
        rooms_per_address_burst: Count = Count::of(100);

        /// Leave things out while a core has more to do than time, one after the other: far cells
        /// above 70 %, and when ticks begin late, every other state, joins, and in rooms that allow
        /// it the pace of time. Let nobody in that is busy for 95 % of a second whose ticks began
        /// late, until a second is below 85 %. Otherwise ticks slip for everybody.
        shed_when_busy: bool = true;
    }

    /// How much is queued for a client that reads too slowly.
    outbound: Outbound {
        /// From here on a client gets no state until its queue is empty, then one catch-up.
        soft_max: Size = kib(256), within kib(4)..=kib(1 << 20);

        /// From here on a client is lost and its connection closes with 1013. The most memory
        /// that one client can take; must be more than `soft_max`.
        hard_max: Size = kib(1024), within kib(4)..=kib(1 << 20);

        /// How long a client with a full queue may read nothing at all before it is closed.
        stall_max: Duration = s(20), within ms(100)..=s(3600);
    }

    /// Plain HTTP: health, metrics, pages. Beside the connections above, with a thread of its own.
    http: Http {
        /// Serve the pages at / that show what the server can do, with the client at /sdk.js. They
        /// are part of the binary and hold no secrets; without them, what programs ask for stays.
        pages: bool = true;

        /// HTTP connections at the same time; further ones get 503. When more than half of them
        /// are there, none is kept between two requests.
        connections_max: Count = Count::of(256), within Count::of(1)..=Count::of(65_536);

        /// From an answer to the next complete request head, before the connection is closed.
        idle_timeout: Duration = s(15), within ms(100)..=s(3600);

        /// From a request head to the end of the body, and from an answer until the client has
        /// taken it.
        body_timeout: Duration = s(10), within ms(100)..=s(600);

        /// The longest request body; a longer one gets 413. Each connection may hold one.
        body_max: Size = kib(64), within kib(1)..=kib(64 * 1024);

        /// What other programs send as `Authorization: Bearer` to keep seats for their users at
        /// /api/seats; "none" lets nobody. Better TICKLOOM_HTTP_API_KEY than a file that others
        /// may read. There is no other authentication.
        api_key: ApiKey = ApiKey::default();

        /// Requests per second at /api/seats that show the key, each for up to 100 seats; further
        /// ones get 429. A second's worth may come at once.
        seats_rate: Limit<Rate> = Limit(Some(Rate(100)));
    }

    /// What happens on SIGTERM and SIGINT.
    stop: Stop {
        /// From the signal to the end of the process, whoever is still connected then.
        /// Keep it below what your supervisor waits before it kills (systemd 90s, Kubernetes 30s).
        deadline: Duration = s(10), within ms(100)..=s(3600);

        /// Clients are told to come back at a random moment within this, so that they do not
        /// all arrive at once.
        retry_spread: Duration = s(5), within ms(0)..=s(3600);
    }

    /// What happens when a shard's thread no longer turns.
    watchdog: Watchdog {
        /// A shard that has not turned for this long makes the server report that it is not
        /// ready.
        unready_after: Duration = s(2), within ms(100)..=s(3600);

        /// A shard that has not turned for this long ends the process, for a supervisor to start
        /// it again; must be more than `unready_after`.
        abort_after: Duration = s(10), within ms(100)..=s(3600);
    }

    /// For conformance suites and comparisons.
    echo: EchoSection {
        /// Answer WebSockets at /echo with what they send. Not for production: it costs bandwidth
        /// and serves nobody.
        @flag "enable-echo";
        enabled: bool = false;
    }

    /// What the server says.
    log: Log {
        /// How to write logs: "auto" is text on a terminal and JSON otherwise.
        @flag "log-format" "FORMAT";
        format: LogFormat = LogFormat::Auto;

        /// What to log: everything at this level and at those before it.
        @flag "log-level" "LEVEL";
        level: LogLevel = LogLevel::Info;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_something_its_key_accepts() {
        for key in KEYS {
            let shown = (key.show)(&Settings::default());
            let raw = match shown.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(text) => Raw::Text(text.to_owned()),
                None => Raw::Word(shown.clone()),
            };
            let mut settings = Settings::default();
            assert_eq!((key.set)(&mut settings, &raw, Origin::Flag("x")), Ok(()), "{key:?}");
            assert_eq!((key.show)(&settings), shown, "{key:?}");
            assert_eq!((key.origin)(&settings), &Origin::Flag("x"), "{key:?}");
        }
    }

    #[test]
    fn no_two_keys_share_a_name_a_variable_or_a_flag() {
        let flags = KEYS.iter().filter_map(|key| key.flag).map(|flag| flag.name);
        let flags: Vec<_> = flags.collect();
        for (what, names) in [
            ("path", KEYS.iter().map(Key::path).collect::<Vec<_>>()),
            ("variable", KEYS.iter().map(Key::variable).collect()),
            ("flag", flags.iter().map(|flag| (*flag).to_owned()).collect()),
        ] {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{what}");
        }
    }
}
