//! Runs a command beside a PostgreSQL server that all tests share: `with_postgres cargo nextest run`.

use std::process::{Command, ExitCode};

use realtime_tests::postgres::{SERVER, Server};

fn main() -> ExitCode {
    let server = Server::start();
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().expect("a command to run");
    let status = Command::new(program).args(arguments).env(SERVER, server.url()).status();
    let code = status.expect("the command runs").code();
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
