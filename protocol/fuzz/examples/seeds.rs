//! Writes what every check starts from: `seeds FOLDER` fills a folder for each of them. Prints
//! their names.

use std::path::PathBuf;
use std::{env, fs};

use tickloom_fuzz::targets::TARGETS;

fn main() {
    let folder = PathBuf::from(env::args_os().nth(1).expect("a folder to write to"));
    for target in TARGETS {
        let corpus = folder.join(target.name);
        fs::create_dir_all(&corpus).expect("a folder for a corpus");
        for (index, seed) in (target.seeds)().iter().enumerate() {
            fs::write(corpus.join(format!("seed-{index:03}")), seed).expect("a file for a seed");
        }
        println!("{}", target.name);
    }
}
