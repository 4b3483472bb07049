//! Lists of cores: `[0, 2, 3]`, or `"0,2-3"` as taskset writes them.

use crate::config::node::Raw;
use crate::config::value::{Value, misfit};

/// No machine has this many.
const CORE_MAX: usize = 4096;

/// Cores to run on, in this order, none twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreList(Vec<usize>);

impl CoreList {
    /// The cores' numbers.
    #[must_use]
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    fn push(&mut self, core: usize) -> Result<(), String> {
        if core > CORE_MAX {
            return Err(format!("there is no core {core}"));
        }
        if self.0.contains(&core) {
            return Err(format!("core {core} is named twice; each shard needs one of its own"));
        }
        self.0.push(core);
        Ok(())
    }
}

impl Value for CoreList {
    fn accepts() -> String {
        r#"a list of cores such as [0, 2, 3] or "0,2-3""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let mut cores = Self(Vec::new());
        match raw {
            Raw::List(list) if !list.is_empty() => {
                for node in list {
                    cores.push(usize::read(&node.raw)?)?;
                }
            }
            Raw::Text(text) | Raw::Word(text) => {
                for part in text.split(',').map(str::trim) {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    let number = |text: &str| text.trim().parse::<usize>().ok();
                    let (Some(first), Some(last)) = (number(first), number(last)) else {
                        return Err(format!("`{part}` is neither a core nor a range of cores"));
                    };
                    if first > last {
                        return Err(format!("`{part}` is upside down"));
                    }
                    (first..=last).try_for_each(|core| cores.push(core))?;
                }
            }
            Raw::List(_) => return Err("at least one core is needed".to_owned()),
            _ => return Err(misfit(raw)),
        }
        Ok(cores)
    }

    fn show(&self) -> String {
        format!("{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_lists_and_ranges() {
        for (list, expected) in [
            ("0", Ok(vec![0])),
            ("2-3,0", Ok(vec![2, 3, 0])),
            (" 1 , 4 ", Ok(vec![1, 4])),
            ("2,2", Err("core 2 is named twice; each shard needs one of its own")),
            ("1-3,2", Err("core 2 is named twice; each shard needs one of its own")),
            ("3-2", Err("`3-2` is upside down")),
            ("", Err("`` is neither a core nor a range of cores")),
            ("two", Err("`two` is neither a core nor a range of cores")),
            ("0-99999999999", Err("there is no core 4097")),
        ] {
            let read = CoreList::read(&Raw::Word(list.to_owned()));
            assert_eq!(read, expected.map(CoreList).map_err(str::to_owned), "{list}");
        }
    }
}
