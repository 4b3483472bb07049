//! Wherever items are inserted, a list's keys stay in order and none comes twice; they grow with
//! the number of inserts at one place, not with the length of the list.

use proptest::prelude::*;
use tickloom_protocol::limits;
use tickloom_protocol::ordering::{OrderError, between};

/// A list that starts empty, and what was asked of it.
#[derive(Default)]
struct List {
    keys: Vec<String>,
}

impl List {
    /// Inserts in front of the item at `position`, or at the end.
    fn insert(&mut self, position: usize) {
        let before = position.checked_sub(1).map(|before| self.keys[before].as_str());
        let after = self.keys.get(position).map(String::as_str);
        let key = between(before, after).unwrap_or_else(|error| {
            panic!("{error}, between {before:?} and {after:?} of {}", self.keys.len())
        });
        self.keys.insert(position, key);
    }

    fn assert_ascends(&self) {
        for pair in self.keys.windows(2) {
            assert!(pair[0].as_bytes() < pair[1].as_bytes(), "{pair:?}");
        }
    }

    fn longest(&self) -> usize {
        self.keys.iter().map(String::len).max().unwrap_or(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn thousands_of_inserts_anywhere_keep_the_list_in_order(
        places in prop::collection::vec(any::<prop::sample::Index>(), 3000),
    ) {
        let mut list = List::default();
        for place in places {
            let position = place.index(list.keys.len() + 1);
            list.insert(position);
        }
        list.assert_ascends();
        prop_assert!(list.longest() <= 12, "{} bytes", list.longest());
    }

    /// People insert where they inserted last.
    #[test]
    fn inserts_around_one_place_keep_the_list_in_order(
        places in prop::collection::vec((0..=2_usize, 0..=9_u8), 400),
    ) {
        let (mut list, mut last) = (List::default(), 0);
        for (step, jump) in places {
            let position = if jump == 0 { list.keys.len() / 2 } else { (last + step).max(1) - 1 };
            last = position.min(list.keys.len());
            list.insert(last);
        }
        list.assert_ascends();
    }

    #[test]
    fn whatever_the_neighbours_are_a_key_lies_between_them_or_an_error_says_why(
        before in prop::option::of("[A-Za-z0-9]{0,4}|[a-c][0-1z]{1,5}|.{0,3}"),
        after in prop::option::of("[A-Za-z0-9]{0,4}|[a-c][0-1z]{1,5}|.{0,3}"),
    ) {
        match between(before.as_deref(), after.as_deref()) {
            Ok(key) => {
                prop_assert!(before.is_none_or(|before| before < key));
                prop_assert!(after.is_none_or(|after| key < after));
                prop_assert!(key.len() <= limits::ORDER_KEY_BYTES_MAX);
                prop_assert!(between(Some(&key), None).is_ok(), "{key} is a neighbour too");
            }
            Err(OrderError::NotAscending) => prop_assert!(before >= after),
            Err(OrderError::BadKey("before")) => {
                prop_assert!(between(before.as_deref(), None).is_err());
            }
            Err(OrderError::BadKey(_)) => prop_assert!(between(None, after.as_deref()).is_err()),
            Err(error @ OrderError::TooLong) => prop_assert!(false, "{error} after short keys"),
        }
    }
}

#[test]
fn a_list_that_grows_at_an_end_has_short_keys() {
    for at_the_end in [true, false] {
        let (mut last, mut longest) = (None, 0);
        for _ in 0..300_000 {
            let neighbour = last.as_deref();
            let (before, after) = if at_the_end { (neighbour, None) } else { (None, neighbour) };
            let key = between(before, after).expect("there is room at an end");
            longest = longest.max(key.len());
            last = Some(key);
        }
        assert!(longest <= 5, "{longest} bytes, at the end: {at_the_end}");
    }
}

#[test]
fn a_key_of_any_length_bounds_the_work_and_the_answer() {
    let long = format!("a0{}1", "0".repeat(limits::PROP_VALUE_BYTES_MAX));
    assert_eq!(between(Some("a0"), Some(&long)), Err(OrderError::TooLong));
    assert_eq!(between(Some(&long), None).as_deref(), Ok("a1"));
    assert_eq!(between(None, Some(&long)).as_deref(), Ok("a0"));
}
