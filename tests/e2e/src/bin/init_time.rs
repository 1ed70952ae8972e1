//! From the start of a function's process to its first request for an event: what Lambda bills as INIT, without the download and the
//! sandbox. Chatlane's bootstrap beside the smallest function of the same runtime, in turns; printed, never judged. The bootstrap opens its
//! connections to the tables and the queue before it asks: here to a listener on this machine, without TLS, that refuses everything.
//!
//! Usage: `init_time BOOTSTRAP SMALLEST`, two release builds. `tests/run long` makes them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chatlane_functions::Function;
use chatlane_tests_e2e::start::{first_next, refusing_endpoint};

/// Starts of each program; odd, so that one is in the middle.
const STARTS: usize = 21;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let programs: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [bootstrap, smallest] = programs.as_slice() else { bail!("usage: init_time BOOTSTRAP SMALLEST") };
    let url = refusing_endpoint().await?;
    let mut took = [vec![], vec![]];
    for _ in 0..STARTS {
        took[0].push(first_next(bootstrap, Function::Send, &url).await?);
        took[1].push(first_next(smallest, Function::Send, &url).await?);
    }
    let [mut of_bootstrap, mut of_smallest] = took;
    println!("init to first /next, median of {STARTS} starts (fastest … slowest):");
    report("bootstrap as the function send", bootstrap, &mut of_bootstrap)?;
    report("smallest lambda_runtime binary", smallest, &mut of_smallest)
}

fn report(name: &str, program: &Path, took: &mut [Duration]) -> anyhow::Result<()> {
    took.sort_unstable();
    let [fastest, median, slowest] = [0, took.len() / 2, took.len() - 1].map(|index| took[index].as_secs_f64() * 1e3);
    let bytes = u32::try_from(std::fs::metadata(program)?.len()).context("a binary below 4 GB")?;
    println!("{name:32}{median:7.1} ms ({fastest:.1} … {slowest:.1}), {:.2} MB", f64::from(bytes) / 1e6);
    Ok(())
}
