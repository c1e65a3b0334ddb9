//! A server of the test resources in a process of its own, so that it can be killed: `server PLACE` serves the SQLite
//! file or, by its URL, the PostgreSQL database, prints its address, and ends with its standard input.

use std::io::{Read as _, Write as _};

use realtime_tests::{Setup, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = std::env::args().nth(1).ok_or("the place of the database is missing")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = runtime.block_on(Setup::on(&Store::at(&place)).workers(1).start());
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.address())?;
    out.flush()?;
    // Whoever started it holds the other end, however he ends.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
