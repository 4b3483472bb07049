//! Ordering keys.

use std::fmt::Write as _;

use tickloom_protocol::limits;
use tickloom_protocol::ordering::{OrderError, between};

use crate::files::golden;

/// Neighbours at every border of the format, as `before` and `after`; empty at a list's end.
const NEIGHBOURS: [(&str, &str); 38] = [
    ("", ""),
    ("a0", ""),
    ("", "a0"),
    ("a9", ""),
    ("aZ", ""),
    ("az", ""),
    ("bzz", ""),
    ("", "b00"),
    ("", "c000"),
    ("Zz", ""),
    ("", "Z0"),
    ("Yzz", ""),
    ("", "Y00"),
    ("a0V", ""),
    ("", "a0V"),
    ("a0", "a1"),
    ("a0", "a2"),
    ("Zz", "a0"),
    ("Zz", "a1"),
    ("Zz", "a01"),
    ("a0", "a0V"),
    ("a0V", "a1"),
    ("a0", "a01"),
    ("a0", "a0001"),
    ("a01", "a02"),
    ("a0z", "a1"),
    ("a0zz", "a1"),
    ("a049", "a05"),
    ("a0Gz", "a0H5"),
    ("a0G", "a0Gz1"),
    ("az", "b00V"),
    ("zzzzzzzzzzzzzzzzzzzzzzzzzzz", ""),
    ("", "A00000000000000000000000000V"),
    ("a0", "a0"),
    ("a1", "a0"),
    ("a0V0", ""),
    ("a", ""),
    ("", "A00000000000000000000000000"),
];

fn line(before: &str, after: &str) -> String {
    let [lower, upper] = [before, after].map(|key| (!key.is_empty()).then_some(key));
    let key = between(lower, upper).unwrap_or_else(|error| match error {
        OrderError::BadKey(side) => format!("bad-{side}"),
        OrderError::NotAscending => "not-ascending".into(),
        OrderError::TooLong => "too-long".into(),
    });
    format!("{before},{after},{key}")
}

#[test]
fn ordering_keys_are_frozen() {
    let mut table = String::from("before,after,key\n");
    for (before, after) in NEIGHBOURS {
        let _ = writeln!(table, "{}", line(before, after));
    }
    let (full, next) = (format!("a0{}", "z".repeat(limits::ORDER_KEY_BYTES_MAX - 2)), "a1");
    let _ = writeln!(table, "{}", line(&full, next));
    // A walk towards one place.
    let (mut before, mut after) = ("a0".to_owned(), "a1".to_owned());
    for step in 0..60 {
        let line = line(&before, &after);
        let _ = writeln!(table, "{line}");
        let side = if step % 3 == 0 { &mut before } else { &mut after };
        line.rsplit(',').next().expect("the key").clone_into(side);
    }
    let committed = golden("ordering.csv", table.as_bytes());
    for row in str::from_utf8(&committed).expect("text").lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [before, after, _] = cells[..] else { panic!("{row}") };
        assert_eq!(line(before, after), row);
    }
}
