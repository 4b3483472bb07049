//! What every benchmark that prints figures of its own can be asked for.

use clap::Args;

/// Beside what a benchmark measures and how much of it.
#[derive(Args, Clone, Copy, Debug)]
pub struct Asked {
    /// A short run with little load: shows that it works, measures nothing
    #[arg(long)]
    pub quick: bool,
    /// What `cargo bench` adds to the arguments of every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}
