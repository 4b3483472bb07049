//! What the user asked for, layer over layer, and what it means on this machine ([`Config`]).
//!
//! ```text
//! table of keys (settings) --> defaults --\
//! tickloom.toml --> node, fields --------> layers --> Asked --+ machine --> Config
//! TICKLOOM_SECTION_KEY, flags (args) ----/                    \--> Problems, all at once
//! ```
//!
//! Nothing here reads files, the environment or the clock: `main` does, and hands over texts.

pub mod args;
pub mod cores;
pub mod fields;
pub mod layers;
pub mod log;
pub mod node;
pub mod pages;
pub mod problem;
pub mod settings;
pub mod suggestions;
#[cfg(test)]
mod tests;
pub mod units;
pub mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tickloom_protocol::link::LinkLimits;

use crate::addresses::AddressLimits;
use crate::allowance::Allowance;
use crate::config::cores::CoreList;
use crate::config::layers::Asked;
use crate::config::problem::{Problem, Problems};
use crate::config::settings::{
    Http, Key, LimitsSection, Origin, Rooms, Server, Settings, TlsSection, WebSocket,
};
use crate::config::units::Limit;
use crate::config::value::Count;
use crate::http::{ApiKey, HttpConfig};
use crate::origins::OriginPolicy;
use crate::outbox::OutboxLimits;
use crate::overload::WhenBusy;
use crate::proxies::{Proxies, ProxyProtocol};
use crate::rate::Rate;
use crate::reactor::WriteStamps;
use crate::recording::{Recording, RecordingConfig};
use crate::room::description::Descriptions;
use crate::session::Patience;
use crate::shard::Echo;
use crate::tls::certificate::PemFiles;
use crate::tls::identity::TlsSource;

/// File descriptors that are not connections: listeners, polls, timers, wakers, logs.
pub const DESCRIPTORS_RESERVED: usize = 64;

/// Sessions that may wait on their way to one shard. Nobody has a reason to choose another number.
const LETTERS_MAX: usize = 4096;

/// What a server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Cores to pin shards to, one each. Empty: one shard, not pinned.
    pub cores: Vec<usize>,
    /// Ticks per second of the built-in rooms.
    pub tick_rate_hz: u32,
    /// Whether connections are encrypted, and by whose certificate.
    pub tls: TlsSource,
    /// Whether `/echo` answers.
    pub echo: Echo,
    /// The proxies in front of it.
    pub proxies: Proxies,
    /// Whose pages may connect.
    pub origins: OriginPolicy,
    /// Connections at the same time, over all shards.
    pub connections_max: usize,
    /// Rooms at the same time, over all shards.
    pub rooms_max: usize,
    /// Memory of the process above which new work is refused.
    pub memory_bytes_max: Option<u64>,
    /// How long a room without members is kept.
    pub room_linger: Duration,
    /// How long the seat of a member is kept whose connection broke.
    pub room_grace: Duration,
    /// How long sessions may take for what.
    pub patience: Patience,
    /// How long a congested session may take nothing.
    pub stall_max: Duration,
    /// What one connection may send.
    pub allowance: Allowance,
    /// What one message may be.
    pub link: LinkLimits,
    /// What one address may do.
    pub addresses: AddressLimits,
    /// TLS handshakes that are begun, over all shards.
    pub handshakes_pace: Option<Rate>,
    /// New connections of all addresses together, over all shards.
    pub handshakes: Option<Rate>,
    /// What an overloaded shard does.
    pub busy: WhenBusy,
    /// Bounds of each session's queue.
    pub outbox: OutboxLimits,
    /// Whether messages are compressed, and which.
    pub compression: CompressionConfig,
    /// Sessions that may wait on their way to one shard; more are overload. Far more than one turn
    /// of a loop leaves behind.
    pub letters_max: usize,
    /// How the server stops.
    pub stop: StopConfig,
    /// What happens when a shard no longer turns.
    pub watchdog: WatchdogConfig,
    /// What plain HTTP serves, and its bounds.
    pub http: HttpConfig,
    /// What other programs show to act on behalf of users.
    pub api_key: ApiKey,
    /// How often they may; as often as they like without.
    pub seats_rate: Option<Rate>,
    /// Room types that need no code, by name.
    pub rooms: Descriptions,
    /// Seed of the rooms' randomness and of the directory.
    pub seed: u64,
    /// Where to keep how rooms failed: at most 100 files of at most 12 KiB, the oldest
    /// replaced. They hold what players sent.
    pub failures_dir: Option<PathBuf>,
    /// Where recordings of rooms go, and which there are.
    pub recording: Option<RecordingConfig>,
    /// Whether to keep a stamp of every write, for benchmarks.
    pub write_stamps: WriteStamps,
}

/// Whether messages are compressed, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionConfig {
    /// Whether clients that offer it are answered.
    pub is_offered: bool,
    /// Shorter messages are sent plain.
    pub bytes_min: usize,
    /// Rooms with a window on what they sent before.
    pub windows_max: usize,
}

/// How the server stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopConfig {
    /// From SIGTERM to the end of the process.
    pub deadline: Duration,
    /// Clients are told to come back spread over this.
    pub retry_spread: Duration,
}

/// What happens when a shard no longer turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchdogConfig {
    /// Stillness after which the server is not ready.
    pub unready_after: Duration,
    /// Stillness after which the process ends. Longer than `unready_after`.
    pub abort_after: Duration,
}

/// What the machine offers, looked up by the caller.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores this process may run on.
    pub cores: Vec<usize>,
    /// Files this process may open.
    pub descriptors_max: usize,
}

impl Machine {
    /// Looks at this machine, and raises the soft limit on open files to the hard one.
    #[must_use]
    pub fn this() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => current,
        };
        let descriptors_max = limit.map_or(usize::MAX >> 1, |limit| limit as usize);
        Self { cores: crate::runtime::allowed_cores(), descriptors_max }
    }
}

impl Config {
    /// The defaults on a free loopback port, with one shard that is not pinned: what embedding
    /// programs and tests start from.
    #[must_use]
    pub fn loopback() -> Self {
        let settings = Settings::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            echo: Echo::Enabled,
            ..Self::of(&settings, Chosen { cores: Vec::new(), connections_max: 10_000, seed: 0 })
        }
    }

    /// Checks what was asked for against itself and against what the machine offers. `seed` is
    /// used unless the user gave one.
    ///
    /// # Errors
    /// Everything that is wrong, with the layers' own problems.
    pub fn resolve(asked: &Asked, machine: &Machine, seed: u64) -> Result<Self, Problems> {
        let settings = &asked.settings;
        let mut problems = asked.problems.clone();
        problems.extend(conflicts(asked));
        problems.extend(unrecorded(asked));
        problems.extend(unavailable(asked, machine));
        if let Some(problems) = Problems::found(problems, asked.file.clone()) {
            return Err(problems);
        }
        let cores = settings.server.cores.value.as_ref().map(CoreList::numbers);
        let available = machine.descriptors_max.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        let chosen = Chosen {
            cores: cores.unwrap_or(&machine.cores).to_vec(),
            connections_max: settings.server.connections_max.value.map_or(available, Count::get),
            seed: settings.server.seed.value.unwrap_or(seed),
        };
        Ok(Self { rooms: asked.rooms.clone(), ..Self::of(settings, chosen) })
    }

    fn of(settings: &Settings, chosen: Chosen) -> Self {
        let Settings {
            server,
            websocket,
            tls,
            tick,
            room,
            limits,
            outbound,
            http,
            stop,
            watchdog,
            echo,
            log: _,
        } = settings;
        Self {
            listen: server.listen.value,
            cores: chosen.cores,
            tick_rate_hz: tick.rate.value.0,
            tls: tls_source(tls),
            echo: if echo.enabled.value { Echo::Enabled } else { Echo::Disabled },
            proxies: proxies(server),
            origins: websocket.origins.value.clone(),
            connections_max: chosen.connections_max,
            rooms_max: room.rooms_max.value.get(),
            memory_bytes_max: server.memory_max.value.0.map(|size| size.0 as u64),
            room_linger: room.linger.value,
            room_grace: room.grace.value,
            patience: patience(websocket, tls),
            stall_max: outbound.stall_max.value,
            allowance: allowance(limits),
            link: LinkLimits {
                message_bytes_max: websocket.message_max.value.0,
                fragments_max: websocket.fragments_max.value.0.map(Count::get_u32),
            },
            addresses: address_limits(limits),
            handshakes_pace: tls.handshakes_pace.value.0.map(pace),
            handshakes: per_second(limits.handshakes_rate.value, limits.handshakes_burst.value),
            busy: if limits.shed_when_busy.value { WhenBusy::LetNobodyIn } else { WhenBusy::GoOn },
            outbox: OutboxLimits {
                soft_bytes_max: outbound.soft_max.value.0,
                hard_bytes_max: outbound.hard_max.value.0,
            },
            compression: CompressionConfig {
                is_offered: websocket.compression.value,
                bytes_min: websocket.compression_min.value.0,
                windows_max: websocket.compression_rooms_max.value.get(),
            },
            letters_max: LETTERS_MAX,
            stop: StopConfig {
                deadline: stop.deadline.value,
                retry_spread: stop.retry_spread.value,
            },
            watchdog: WatchdogConfig {
                unready_after: watchdog.unready_after.value,
                abort_after: watchdog.abort_after.value,
            },
            http: http_bounds(http, websocket),
            api_key: http.api_key.value.clone(),
            seats_rate: http.seats_rate.value.0.map(units::Rate::with_a_second_at_once),
            rooms: Descriptions::new(),
            seed: chosen.seed,
            recording: recording(room),
            failures_dir: room.failures_dir.value.0.clone(),
            write_stamps: WriteStamps::Skip,
        }
    }
}

/// Of files that do not go together, [`conflicts`] complains.
fn tls_source(tls: &TlsSection) -> TlsSource {
    match (&tls.cert.value.0, &tls.key.value.0) {
        (Some(cert), Some(key)) => {
            TlsSource::Files(PemFiles { cert: cert.clone(), key: key.clone() })
        }
        _ if tls.dev_cert.value => TlsSource::Made,
        _ => TlsSource::Off,
    }
}

fn recording(room: &Rooms) -> Option<RecordingConfig> {
    Some(RecordingConfig {
        dir: room.recordings_dir.value.0.clone()?,
        of_all: room.record.value,
        file_bytes_max: room.recording_max.value.0 as u64,
        dir_bytes_max: room.recordings_max.value.0 as u64,
    })
}

fn proxies(server: &Server) -> Proxies {
    let required = server.proxy_protocol.value;
    Proxies {
        trusted: server.trusted_proxies.value.clone(),
        header: server.forwarded_header.value,
        protocol: if required { ProxyProtocol::Required } else { ProxyProtocol::Off },
    }
}

fn patience(websocket: &WebSocket, tls: &TlsSection) -> Patience {
    Patience {
        handshake: tls.handshake_timeout.value,
        head: websocket.head_timeout.value,
        join: websocket.join_timeout.value,
        message: websocket.message_timeout.value,
        ping: websocket.ping_interval.value,
        pong: websocket.pong_timeout.value,
        drain: websocket.drain_timeout.value,
    }
}

fn http_bounds(http: &Http, websocket: &WebSocket) -> HttpConfig {
    HttpConfig {
        connections_max: http.connections_max.value.get(),
        idle_timeout: http.idle_timeout.value,
        body_timeout: http.body_timeout.value,
        body_bytes_max: http.body_max.value.0,
        drain: websocket.drain_timeout.value,
        has_pages: http.pages.value,
    }
}

fn per_second(rate: Limit<units::Rate>, burst: Count) -> Option<Rate> {
    rate.0.map(|rate| Rate::new(u64::from(rate.0), burst.get() as u64))
}

/// As much at once as comes due in a tenth of a second: longer than any turn of a shard, so that
/// the pace is kept, and too short to hold up anything.
fn pace(rate: units::Rate) -> Rate {
    let per_second = u64::from(rate.0);
    Rate::new(per_second, per_second.div_ceil(10))
}

fn address_limits(limits: &LimitsSection) -> AddressLimits {
    let (handshakes, handshakes_burst) =
        (limits.handshakes_per_address.value, limits.handshakes_per_address_burst.value);
    AddressLimits {
        exempt: limits.exempt.value.clone(),
        connections_max: limits.connections_per_address_max.value.0.map(Count::get_u32),
        handshakes: per_second(handshakes, handshakes_burst),
        rooms: per_second(limits.rooms_per_address.value, limits.rooms_per_address_burst.value),
    }
}

fn allowance(limits: &LimitsSection) -> Allowance {
    let bytes_burst = limits.bytes_burst.value.0 as u64;
    Allowance {
        messages: per_second(limits.messages_rate.value, limits.messages_burst.value),
        bytes: limits.bytes_rate.value.0.map(|size| Rate::new(size.0 as u64, bytes_burst)),
        controls: per_second(limits.controls_rate.value, limits.controls_burst.value),
        lead_max: limits.lead_max.value,
        rooms_max: limits.rooms_per_connection_max.value.0.map(Count::get),
    }
}

/// What `"auto"` became.
struct Chosen {
    cores: Vec<usize>,
    connections_max: usize,
    seed: u64,
}

/// Cores as people say them.
#[must_use]
pub fn describe_cores(cores: &[usize]) -> String {
    let numbers = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    match cores {
        [] => "no core".to_owned(),
        [_] => format!("core {numbers}"),
        _ => format!("cores {numbers}"),
    }
}

/// Keys that do not go together.
fn conflicts(asked: &Asked) -> Vec<Problem> {
    let Settings { server, websocket, tls, tick, room, limits, outbound, stop, watchdog, .. } =
        &asked.settings;
    let messages_rate = limits.messages_rate.value.0;
    let bytes_rate = limits.bytes_rate.value.0;
    let message_time = |rate: units::Size| websocket.message_max.value.0 as f64 / rate.0 as f64;
    let memory_max = server.memory_max.value.0;
    let less_than = "must be less than";
    let rows = [
        (
            outbound.soft_max.value >= outbound.hard_max.value,
            [("outbound", "soft_max"), ("outbound", "hard_max")],
            less_than,
            "between the two a client that fell behind still gets what it must have",
        ),
        (
            websocket.pong_timeout.value >= websocket.ping_interval.value,
            [("websocket", "pong_timeout"), ("websocket", "ping_interval")],
            less_than,
            "one ping is answered, or given up, before the next",
        ),
        (
            watchdog.unready_after.value >= watchdog.abort_after.value,
            [("watchdog", "unready_after"), ("watchdog", "abort_after")],
            less_than,
            "a server that is about to end must have said before that it is not ready",
        ),
        (
            websocket.drain_timeout.value > stop.deadline.value,
            [("websocket", "drain_timeout"), ("stop", "deadline")],
            "must not be more than",
            "no connection outlives the process",
        ),
        (
            messages_rate.is_some_and(|rate| tick.rate.value > rate),
            [("tick", "rate"), ("limits", "messages_rate")],
            "must not be more than",
            "a client may send an input for every tick",
        ),
        (
            bytes_rate.is_some_and(|rate| {
                message_time(rate) > websocket.message_timeout.value.as_secs_f64()
            }),
            [("websocket", "message_max"), ("websocket", "message_timeout")],
            "takes longer, at `limits.bytes_rate`, than",
            "a client that sends as fast as it may must get its largest message through",
        ),
        (
            memory_max.is_some_and(|memory_max| outbound.hard_max.value > memory_max),
            [("outbound", "hard_max"), ("server", "memory_max")],
            "must not be more than",
            "one client's queue must fit into the memory of the process",
        ),
    ];
    let rows = rows.into_iter().chain(tls_rules(tls)).chain(recording_rules(room));
    let broken = rows.filter(|(broken, ..)| *broken);
    let problem = |(_, keys, relation, why)| conflict(asked, keys, relation, why);
    broken.filter_map(problem).collect()
}

/// Whether a rule is broken, the two keys it is about, how they must not stand to each other, and
/// why.
type Rule = (bool, [(&'static str, &'static str); 2], &'static str, &'static str);

fn tls_rules(tls: &TlsSection) -> [Rule; 4] {
    let [has_cert, has_key] = [&tls.cert, &tls.key].map(|file| file.value.0.is_some());
    let dev_cert = tls.dev_cert.value;
    let why_both = "a certificate is of use to who has its private key, and the other way round";
    let why_one = "the server shows one certificate: its own, or one made for a developer";
    let not_with = "does not go with";
    [
        (has_cert && !has_key, [("tls", "cert"), ("tls", "key")], "needs", why_both),
        (has_key && !has_cert, [("tls", "key"), ("tls", "cert")], "needs", why_both),
        (dev_cert && has_cert, [("tls", "dev_cert"), ("tls", "cert")], not_with, why_one),
        (
            dev_cert && has_key && !has_cert,
            [("tls", "dev_cert"), ("tls", "key")],
            not_with,
            why_one,
        ),
    ]
}

fn recording_rules(room: &Rooms) -> [Rule; 2] {
    let has_folder = room.recordings_dir.value.0.is_some();
    [
        (
            room.record.value == Recording::Inputs && !has_folder,
            [("room", "record"), ("room", "recordings_dir")],
            "needs",
            "what is kept of rooms are files, and files are in a folder",
        ),
        (
            room.recording_max.value > room.recordings_max.value,
            [("room", "recording_max"), ("room", "recordings_max")],
            "must not be more than",
            "one recording is among all of them",
        ),
    ]
}

/// Described rooms that are to be recorded nowhere.
fn unrecorded(asked: &Asked) -> Option<Problem> {
    if asked.settings.room.recordings_dir.value.0.is_some() {
        return None;
    }
    let mut rooms = asked.rooms.iter();
    let (name, _) = rooms.find(|(_, described)| described.record == Recording::Inputs)?;
    let message = format!("`rooms.{name}.record` needs `room.recordings_dir`");
    Some(Problem::new(message).help("what is kept of rooms are files, and files are in a folder"))
}

/// `None` when one of the keys has been complained about: it does not have the value it was meant
/// to have.
fn conflict(asked: &Asked, keys: [(&str, &str); 2], relation: &str, why: &str) -> Option<Problem> {
    let [left, right] = keys.map(|(section, name)| known(section, name));
    if asked.wrong.iter().any(|key| [left.path(), right.path()].contains(&key.path())) {
        return None;
    }
    let message = format!("`{}` {relation} `{}`", left.path(), right.path());
    let problem = [left, right]
        .into_iter()
        .fold(Problem::new(message), |problem, key| point_at(problem, asked, key));
    Some(problem.help(why))
}

fn known(section: &str, name: &str) -> &'static Key {
    Key::find(section, name).expect("rules are about keys of the table")
}

fn point_at(problem: Problem, asked: &Asked, key: &Key) -> Problem {
    let shown = (key.show)(&asked.settings);
    match (key.origin)(&asked.settings) {
        Origin::File { span, .. } => problem.at(&Some(span.clone()), ""),
        Origin::Default => problem.note(format!("`{}` is {shown} by default", key.path())),
        origin => problem.note(format!("`{}` is {shown} by {origin}", key.path())),
    }
}

/// What this machine does not have.
fn unavailable(asked: &Asked, machine: &Machine) -> Vec<Problem> {
    let server = &asked.settings.server;
    let mut problems = Vec::new();
    let cores = server.cores.value.as_ref().map_or(&[][..], CoreList::numbers);
    let missing: Vec<usize> =
        cores.iter().copied().filter(|core| !machine.cores.contains(core)).collect();
    if !missing.is_empty() {
        let message = format!("`server.cores` names {}", describe_cores(&missing));
        let problem = point_at(Problem::new(message), asked, known("server", "cores"));
        let allowed = describe_cores(&machine.cores);
        problems.push(problem.help(format!("this process may run on {allowed}")));
    }
    let limit = machine.descriptors_max;
    if let Some(wanted) = server.connections_max.value.map(Count::get)
        && wanted > limit.saturating_sub(DESCRIPTORS_RESERVED)
    {
        let needed = wanted.saturating_add(DESCRIPTORS_RESERVED);
        let message = format!(
            "`server.connections_max` = {wanted} needs {needed} file descriptors, but the limit \
             is {limit}"
        );
        let problem = point_at(Problem::new(message), asked, known("server", "connections_max"));
        problems.push(problem.help(format!(
            "lower it, or raise the limit: `ulimit -n {needed}`, LimitNOFILE={needed} in a unit"
        )));
    }
    problems
}
