//! The files of `vectors/`, and the page that describes them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

pub fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The committed bytes of a vector, after making sure that they equal `encoded`.
pub fn golden(name: &str, encoded: &[u8]) -> Vec<u8> {
    let path = vectors().join(name);
    if env::var_os("GOLDEN_WRITE").is_some() {
        fs::write(&path, encoded).expect("vectors/ takes files");
    }
    let committed = fs::read(&path).unwrap_or_default();
    assert!(
        committed == encoded,
        "vector {name} differs\ncommitted: {}\nencoded:   {}",
        hex(&committed),
        hex(encoded)
    );
    committed
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x} ");
        text
    })
}

pub fn from_hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|b| u8::from_str_radix(b, 16).expect("hex")).collect()
}

#[test]
fn the_readme_describes_every_vector_and_nothing_else() {
    let readme = fs::read_to_string(vectors().join("README.md")).expect("a README");
    let mut described: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .filter(|name| name.ends_with(".bin") || name.ends_with(".csv"))
        .collect();
    described.sort_unstable();
    let mut present: Vec<String> = fs::read_dir(vectors())
        .expect("vectors/")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .filter(|name| name != "README.md" && !name.starts_with('.'))
        .collect();
    present.sort_unstable();
    assert_eq!(described, present);
}
