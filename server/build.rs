//! Lists what is in `web/dist`, so that it becomes part of the binary. Nothing is built here: that
//! takes Node, and what it made is committed.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Relative to the package.
const DIST: &str = "web/dist";

fn main() -> io::Result<()> {
    // A folder counts with all that is in it.
    println!("cargo::rerun-if-changed={DIST}");
    let folder = variable("CARGO_MANIFEST_DIR").join(DIST);
    let mut files = Vec::new();
    collect(&folder, &mut files).map_err(|error| {
        let help = "it is committed, and `npm run build` in server/web makes it";
        io::Error::new(error.kind(), format!("{}: {error}; {help}", folder.display()))
    })?;
    // The order of a folder is an accident.
    files.sort();
    let mut table = String::from("[\n");
    for file in &files {
        let path = file.strip_prefix(&folder).expect("it is in the folder");
        let _ = writeln!(table, "    File {{ path: {path:?}, body: include_bytes!({file:?}) }},");
    }
    table.push_str("]\n");
    fs::write(variable("OUT_DIR").join("files.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name).expect("cargo sets it").into()
}
