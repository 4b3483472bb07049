//! Envelopes that are dear to verify are refused.

use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, WIPOffset};
use tickloom_protocol::client_message::{ClientMessage, DecodeError};
use tickloom_protocol::limits;
use tickloom_protocol::server_message::ServerMessage;

type Table = WIPOffset<TableFinishedWIPOffset>;

/// Where the vtable keeps field `index`.
const fn slot(index: u16) -> u16 {
    4 + 2 * index
}

fn put_table(b: &mut FlatBufferBuilder<'_>, fields: &[(u16, Table)]) -> Table {
    let table = b.start_table();
    for &(index, field) in fields {
        b.push_slot_always(slot(index), field);
    }
    b.end_table(table)
}

/// A `Joined` whose components are one component over and over, whose fields are one field over
/// and over, and so are those of its input row: few bytes, many visits.
fn shared_sub_tables(components_count: usize, fields_count: usize, inputs_count: usize) -> Vec<u8> {
    let mut b = FlatBufferBuilder::new();
    let name = b.create_string("x");
    let name = WIPOffset::new(name.value());
    let field = put_table(&mut b, &[(0, name)]);
    let fields = b.create_vector(&vec![field; fields_count]);
    let fields = WIPOffset::new(fields.value());
    let component = put_table(&mut b, &[(0, name), (3, fields)]);
    let components = b.create_vector(&vec![component; components_count]);
    let inputs = b.create_vector(&vec![field; inputs_count]);
    let (components, inputs) = (WIPOffset::new(components.value()), WIPOffset::new(inputs.value()));
    let schema = put_table(&mut b, &[(0, components), (1, inputs)]);
    let joined = b.start_table();
    b.push_slot_always(slot(6), schema);
    b.push_slot_always(slot(3), 50_000_u32);
    let joined = b.end_table(joined);
    let envelope = b.start_table();
    b.push_slot_always(slot(1), joined);
    b.push_slot_always(slot(0), 1_u8);
    let envelope = b.end_table(envelope);
    b.finish_minimal(envelope);
    b.finished_data().to_vec()
}

#[test]
fn shared_sub_tables_are_refused_before_they_are_all_visited() {
    // The story: a verifier with the library's defaults visits a million tables for these bytes.
    let one = shared_sub_tables(1, 1, 0);
    assert!(matches!(ServerMessage::decode(&one), Ok(ServerMessage::Joined(_))), "valid alone");
    // The verifier follows ten by ten tables; the schema then refuses names that repeat.
    let few = ServerMessage::decode(&shared_sub_tables(10, 10, 0)).map(|_| ());
    assert_eq!(few, Err(DecodeError::OutOfRange("schema")), "the construction is right");
    let bytes = shared_sub_tables(1000, 1000, 0);
    assert!(bytes.len() < 10_000, "{} bytes", bytes.len());
    assert_eq!(ServerMessage::decode(&bytes), Err(DecodeError::Malformed));
    // Just over the bound: what is refused is the number of visits, not the number of bytes.
    let over = shared_sub_tables(limits::SERVER_TABLES_MAX / 32 + 1, 31, 0);
    assert_eq!(ServerMessage::decode(&over), Err(DecodeError::Malformed));
    assert!(ClientMessage::decode(&bytes).is_err(), "nor does a server look into them");
}

#[test]
fn a_schema_with_every_field_it_may_have_is_followed_to_its_last_table() {
    // The story: the bound had no place for the fields of the input row, so such a schema was
    // taken for bytes that are no message. Here its names repeat, which is found after verifying.
    let full = shared_sub_tables(limits::COMPONENTS_MAX, limits::FIELDS_MAX, limits::FIELDS_MAX);
    let decoded = ServerMessage::decode(&full).map(|_| ());
    assert_eq!(decoded, Err(DecodeError::OutOfRange("schema")));
}

#[test]
fn shared_strings_are_refused_by_their_apparent_size() {
    for (string_bytes, expected) in
        [(100, DecodeError::TooLong("room_type")), (30_000, DecodeError::Malformed)]
    {
        let mut b = FlatBufferBuilder::new();
        let name = b.create_string(&"x".repeat(string_bytes));
        let name = WIPOffset::new(name.value());
        let join = put_table(&mut b, &[(0, name), (1, name), (2, name)]);
        let envelope = b.start_table();
        b.push_slot_always(slot(1), join);
        b.push_slot_always(slot(0), 1_u8);
        let envelope = b.end_table(envelope);
        b.finish_minimal(envelope);
        let decoded = ClientMessage::decode(b.finished_data());
        assert_eq!(decoded, Err(expected), "{string_bytes} bytes, thrice");
    }
}
