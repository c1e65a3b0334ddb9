//! A server of the test resources in a process of its own, so that it can be killed: `server PATH` serves the SQLite
//! file, prints its address, and ends with its standard input.

use std::io::{Read as _, Write as _};
use std::path::Path;

use realtime_tests::Setup;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("the path of the database is missing")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = runtime.block_on(Setup::at(Path::new(&path)).workers(1).start());
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.address())?;
    out.flush()?;
    // Whoever started it holds the other end, however he ends.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
