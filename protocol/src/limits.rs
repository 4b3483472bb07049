//! Every bound of the wire, each with the reason for its size.
//!
//! Capacities of a server (how many rooms, how much memory) are configuration and live there.

/// Longest HTTP request head a server reads before it answers 431. Browsers with cookies send
/// 0.6-2 KiB; 8 KiB is the customary ceiling of reverse proxies.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Most header lines in a head, past which the answer is 431.
pub const HEAD_LINES_MAX: usize = 64;

/// Largest message a client may send, across all its fragments. Inputs are tens of bytes; the
/// room is for options in `Join`, for what a write changes and for what is published.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Frames that one message of a client may come in. Libraries cut messages at some KiB or not at
/// all; empty frames cost a server time and never reach the limit above.
pub const CLIENT_FRAGMENTS_MAX: u32 = 64;

/// Largest message a server sends. A snapshot of 65,536 entities at 60 bytes each fits.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Nesting the FlatBuffers verifier follows. The deepest path is envelope, body, schema,
/// component, field: five.
pub const TABLE_DEPTH_MAX: usize = 8;

/// Tables the verifier visits in one client message. Shared sub-tables make a 548-byte buffer
/// cost 11 ms to verify under the library's default of a million; ours have two tables.
pub const CLIENT_TABLES_MAX: usize = 16;

/// Tables the verifier visits in one server message: every field of every component, every field
/// of an input row, every topic, and the few tables around them.
pub const SERVER_TABLES_MAX: usize =
    COMPONENTS_MAX * (FIELDS_MAX + 1) + FIELDS_MAX + TOPICS_MAX + 16;

/// What the verifier may count beyond a message's limit: it counts a vtable twice, as a whole and
/// entry by entry, so without this a message of exactly its limit would be refused. One `Delta`
/// or `Join` needs some dozens of bytes.
pub const APPARENT_SLACK_BYTES: usize = 1024;

/// Components in a room's schema. Ids are one byte, and forty columns is already a large game.
pub const COMPONENTS_MAX: usize = 64;

/// Fields in a packed row.
pub const FIELDS_MAX: usize = 32;

/// Bytes of one row of each packed component, added up. Columns are dense by entity id, so one
/// row at the highest id costs its component a row for every id below: this keeps all columns of
/// a room within 64 MiB, whatever the other end says.
pub const ROW_BYTES_SUM_MAX: usize = 1024;

/// Highest entity id, exclusive: replicas keep dense columns, so this bounds their memory.
pub const ENTITY_ID_MAX: u32 = 65_536;

/// Bytes of one packed input row. It is kept by value in the input queue of every member.
pub const INPUT_ROW_BYTES_MAX: usize = 32;

/// Numbers by which an input may be ahead of the last one that was acknowledged. A client that
/// counts on while its server hears nothing is not to fill the seconds after with its past.
pub const INPUTS_AHEAD_MAX: u32 = 64;

/// Bytes of an opaque value, unless its component says less.
pub const OPAQUE_BYTES_MAX: usize = 64 * 1024;

/// Keys in the props of one entity and component.
pub const PROP_KEYS_MAX: usize = 256;

/// Bytes of one property key.
pub const PROP_KEY_BYTES_MAX: usize = 64;

/// Bytes of one string or bytes property.
pub const PROP_VALUE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a room type's or room's name: they travel in logs and in URLs.
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of the options in `Join`: the description of a room fits.
pub const JOIN_OPTIONS_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a password to a room.
pub const PASSWORD_BYTES_MAX: usize = 128;

/// Bytes of a token for a seat: a random number, and where the seat is.
pub const TOKEN_BYTES_MAX: usize = 64;

/// Bytes of what a room says of itself: a list of rooms carries it for each.
pub const METADATA_BYTES_MAX: usize = 1024;

/// Rings of a room with interest.
pub const RINGS_MAX: usize = 4;

/// Cells from the middle of a view to its edge: 33 x 33 cells at most.
pub const RING_DISTANCE_MAX: u8 = 16;

/// States between two that carry a cell's motion.
pub const RING_EVERY_MAX: u8 = 8;

/// Cells of a room with interest: 256 x 256.
pub const CELLS_MAX: usize = 65_536;

/// Topics in a room's schema.
pub const TOPICS_MAX: usize = 64;

/// Bytes of one event's body: a chat message or a session description (signalling) fits.
pub const EVENT_BYTES_MAX: usize = 16 * 1024;

/// Highest number of an event. Whole numbers up to it survive in languages that have floats only.
pub const EVENT_SEQ_MAX: u64 = (1 << 53) - 1;

/// Recipients one publication may name. Whoever wants to reach more uses a topic.
pub const RECIPIENTS_MAX: usize = 64;

/// Entities one write may add: their ids are those behind [`ENTITY_ID_MAX`].
pub const SPAWNS_PER_WRITE_MAX: usize = 256;

/// Steps from an entity to the root of its tree. It bounds the walk that looks for cycles.
pub const TREE_DEPTH_MAX: usize = 64;

/// Bytes of an ordering key. Some 600 items find room between the same two neighbours before
/// keys get that long, and by then the list does better with new ones.
pub const ORDER_KEY_BYTES_MAX: usize = 128;

/// Bytes of the reason in a close frame: a control frame holds 125, two are the code (RFC 6455
/// section 5.5).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Fixed point of `Tick` arithmetic: a room closes before its tick counter would wrap.
pub const TICK_MAX: u32 = u32::MAX - 1;

const _: () = assert!(JOIN_OPTIONS_BYTES_MAX < CLIENT_MESSAGE_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX + 2 * RECIPIENTS_MAX < CLIENT_MESSAGE_BYTES_MAX);
const _: () = assert!(OPAQUE_BYTES_MAX < SERVER_MESSAGE_BYTES_MAX);
const _: () = assert!(APPARENT_SLACK_BYTES < CLIENT_MESSAGE_BYTES_MAX);
const _: () = assert!(FIELDS_MAX * 4 >= INPUT_ROW_BYTES_MAX);
const _: () = assert!(FIELDS_MAX * 4 <= ROW_BYTES_SUM_MAX);
const _: () = assert!(ROW_BYTES_SUM_MAX * ENTITY_ID_MAX as usize <= 64 << 20);
const _: () = assert!(COMPONENTS_MAX <= u8::MAX as usize);
const _: () = assert!(ORDER_KEY_BYTES_MAX <= PROP_VALUE_BYTES_MAX);
