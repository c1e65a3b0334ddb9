//! A PostgreSQL server for tests, and a database of it for each.
//!
//! `tests/run` starts one server for all tests and names it in [`SERVER`]. Without that each test program starts a server
//! of its own in a temporary directory, which takes less than a second. A test that cannot have one fails.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable with the URL of a server that runs already; its user may create databases.
pub const SERVER: &str = "REALTIME_TEST_POSTGRES";

/// Starts the server, waits for the end of its input and stops the server again: it ends with whoever started it, however
/// that ends. `$1` is the folder of the programs, `$2` that of the data, `$3` the port,
/// `$4` more options.
const GUARDIAN: &str = r#"
start() {
    "$1/postgres" -D "$2/data" -k "$2" -h 127.0.0.1 -p "$3" \
        -c fsync=off -c full_page_writes=off -c max_connections=200 -c max_prepared_transactions=10 \
        -c wal_level=logical -c max_replication_slots=100 -c max_wal_senders=100 \
        -c shared_buffers=32MB $4 >"$2/log" 2>&1 </dev/null &
    server=$!
    until "$1/pg_isready" -q -h "$2" -p "$3"; do
        kill -0 $server 2>/dev/null || { cat "$2/log"; exit 1; }
        sleep 0.02
    done
}
"$1/initdb" -D "$2/data" -N -A trust -U realtime -E UTF8 --locale=C.UTF-8 >"$2/log" 2>&1 || { cat "$2/log"; exit 1; }
start "$@"
echo ready
while read -r command most pids; do
    case $command in
    stop) kill -INT $server; wait $server; echo stopped ;;
    crash) kill -QUIT $server; wait $server; echo stopped ;;
    keep) cp -a "$2/data" "$2/kept" && echo kept ;;
    back) rm -rf "$2/data"; cp -a "$2/kept" "$2/data" && echo back ;;
    start) start "$@"; echo started ;;
    recover) : >"$2/data/recovery.signal"; start "$@"; echo started ;;
    limit)
        for pid in $server $pids; do prlimit --pid "$pid" --fsize="$most:"; done
        echo limited ;;
    esac
done
kill -INT $server 2>/dev/null
wait $server
rm -rf "$2"
"#;

/// A private server. It ends when this is dropped or the program does.
#[derive(Debug)]
pub struct Server {
    url: String,
    guardian: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<std::process::ChildStdout>,
}

impl Server {
    /// Starts a server in a temporary directory, on a free port of the loopback interface.
    ///
    /// # Panics
    /// Where it does not start: what its programs said is in the message.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with other options of the program `postgres`, between spaces.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_with(options: &str) -> Self {
        let programs = programs();
        let directory = tempfile::Builder::new().prefix("realtime-postgres-").tempdir();
        // The guardian removes it, also where this program cannot.
        let directory = directory.expect("a temporary directory").keep();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.expect("a free port").port();
        let mut command = unprivileged(&directory);
        command
            .args(["sh", "-c", GUARDIAN, "guardian"])
            .arg(&programs)
            .arg(&directory)
            .arg(port.to_string())
            .arg(options);
        command.current_dir(&directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guardian = command.spawn().expect("the server's guardian starts");
        let commands = guardian.stdin.take();
        let answers = BufReader::new(guardian.stdout.take().expect("its output"));
        let url = format!("postgres://realtime@127.0.0.1:{port}/postgres");
        let mut server = Self { url, guardian, commands, answers };
        server.expect("ready");
        server.make_template();
        server
    }

    /// Making the functions of filters takes a while, so they are there in every database from its beginning.
    fn make_template(&self) {
        psql(&self.url, &format!("CREATE DATABASE {TEMPLATE} TEMPLATE template0"));
        let functions = realtime_core::sql::postgres::functions::install(&[]);
        execute(&database_of(&self.url, TEMPLATE), &functions).expect("the functions are made");
    }

    /// The URL of its maintenance database.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it as a restart of the machine would, its clients' connections with it.
    ///
    /// # Panics
    /// Where it cannot be stopped.
    pub fn stop(&mut self) {
        self.command("stop", "stopped");
    }

    /// Stops it at once, in the midst of what it does: it recovers when it starts again.
    ///
    /// # Panics
    /// Where it cannot be stopped.
    pub fn crash(&mut self) {
        self.command("crash", "stopped");
    }

    /// Starts it again after [`Server::stop`] or [`Server::crash`].
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_again(&mut self) {
        self.command("start", "started");
    }

    /// Starts it again as a backup that is recovered, from which on it goes its own way: another timeline. Its options are to
    /// have `-c restore_command=false`: there is nothing to be fetched.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_recovered(&mut self) {
        self.command("recover", "started");
        // Until it has recovered it answers those who read.
        while psql(&self.url, "SELECT pg_is_in_recovery()").trim() != "f" {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Keeps a copy of its files, as a backup of the machine would. It is to be stopped.
    ///
    /// # Panics
    /// Where that cannot be done.
    pub fn keep_files(&mut self) {
        self.command("keep", "kept");
    }

    /// Sets its files back to what [`Server::keep_files`] has kept. It is to be stopped.
    ///
    /// # Panics
    /// Where that cannot be done.
    pub fn set_back(&mut self) {
        self.command("back", "back");
    }

    /// From now on nobody who is connected to it, or will be, may write further into a file than this, as on a disk that is
    /// full; `None` ends it.
    ///
    /// # Panics
    /// Where that cannot be done.
    pub fn limit_files(&mut self, most: Option<u64>) {
        let clients = psql(
            &self.url,
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        );
        let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
        let command = format!("limit {most} {}", clients.split_whitespace().collect::<Vec<_>>().join(" "));
        self.command(&command, "limited");
    }

    fn command(&mut self, command: &str, answer: &str) {
        use std::io::Write as _;
        let commands = self.commands.as_mut().expect("the guardian listens");
        writeln!(commands, "{command}").expect("the guardian lives");
        self.expect(answer);
    }

    fn expect(&mut self, answer: &str) {
        let mut said = String::new();
        loop {
            let before = said.len();
            self.answers.read_line(&mut said).expect("text");
            if said[before..].trim() == answer {
                return;
            }
            assert!(said.len() > before, "the PostgreSQL server has ended:\n{said}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.guardian.wait();
    }
}

/// The folder with `initdb`, `postgres` and `psql`: that of the program path, else the newest where distributions put it.
fn programs() -> PathBuf {
    let has_all = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt"]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .collect();
    // By the number, so that 9 is before 15.
    versions.sort_by_key(|path| {
        path.file_name().and_then(|name| name.to_str()?.rsplit('@').next()?.parse::<u32>().ok())
    });
    versions
        .into_iter()
        .rev()
        .map(|version| version.join("bin"))
        .chain(std::env::split_paths(&path))
        .find(has_all)
        .expect("PostgreSQL's initdb and postgres are not installed; tests/run installs them (package postgresql)")
}

/// A command that does not run as root, which the server refuses, and may write to the directory.
fn unprivileged(directory: &Path) -> Command {
    let is_root = run(Command::new("id").arg("-u")).stdout == b"0\n";
    if !is_root {
        return Command::new("env");
    }
    let exists = |user: &&str| Command::new("id").arg(user).output().is_ok_and(|id| id.status.success());
    let user = ["postgres", "nobody"].into_iter().find(exists).expect("a user beside root");
    run(Command::new("chown").arg(user).arg(directory));
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("the directory's mode");
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The URL of the server that the tests of this program share.
fn shared() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    static OWN: OnceLock<Server> = OnceLock::new();
    URL.get_or_init(|| match std::env::var(SERVER) {
        Ok(url) => url,
        Err(_) => OWN.get_or_init(Server::start).url().to_owned(),
    })
}

fn fresh_name() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("t{}_{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

fn database_of(server: &str, name: &str) -> String {
    let (server, _) = server.rsplit_once('/').expect("the server's URL names a database");
    format!("{server}/{name}")
}

/// What databases are copied from.
const TEMPLATE: &str = "realtime_template";

/// A fresh database. Dropping it removes it, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Creates a database on the server that all tests share.
    ///
    /// # Panics
    /// Where there is no server.
    pub fn create() -> Self {
        Self::create_on(shared())
    }

    /// Creates a database on a server of one's own.
    ///
    /// # Panics
    /// Where that fails.
    pub fn create_on(server: &str) -> Self {
        let name = fresh_name();
        // A server that was not started here has no template.
        let create =
            |template| psql_command(server, &format!("CREATE DATABASE {name} TEMPLATE {template}")).output();
        if !create(TEMPLATE).is_ok_and(|created| created.status.success()) {
            psql(server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        }
        Self { server: server.to_owned(), name }
    }

    /// Creates a database of another encoding than UTF-8.
    ///
    /// # Panics
    /// Where there is no server.
    pub fn create_in(encoding: &str) -> Self {
        let (server, name) = (shared(), fresh_name());
        psql(server, &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"));
        Self { server: server.to_owned(), name }
    }

    /// Creates a copy of a database to which nobody is connected.
    ///
    /// # Panics
    /// Where that fails.
    pub fn create_like(original: &str) -> Self {
        let name = fresh_name();
        let server = database_of(original, "postgres");
        let (_, template) = original.rsplit_once('/').expect("the URL names a database");
        psql(&server, &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self { server, name }
    }

    /// Its URL.
    ///
    /// # Panics
    /// Where the server's URL names no database.
    pub fn url(&self) -> String {
        database_of(&self.server, &self.name)
    }

    /// Runs SQL with the `psql` program, as another process would; several statements are several transactions. Gives
    /// what it prints: rows without headings, columns between `|`.
    ///
    /// # Panics
    /// Where a statement fails.
    pub fn psql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }
}

impl Database {
    /// The SQL that `pg_dump` makes of it: what is there is dropped first.
    ///
    /// # Panics
    /// Where that fails.
    pub fn dump(&self) -> String {
        let mut dump = Command::new(programs().join("pg_dump"));
        dump.args(["--clean", "--if-exists", "-d", &self.url()]);
        String::from_utf8(run(&mut dump).stdout).expect("text")
    }

    /// Runs what [`Database::dump`] gave.
    ///
    /// # Panics
    /// Where that fails.
    pub fn restore(&self, dump: &str) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::io::Write::write_all(&mut file, dump.as_bytes()).expect("a temporary file");
        let mut psql = Command::new(programs().join("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-f"]).arg(file.path());
        run(&mut psql);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Where the server has gone, the database has too.
        let _ = psql_command(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
            .output();
    }
}

fn psql(url: &str, sql: &str) -> String {
    String::from_utf8(run(&mut psql_command(url, sql)).stdout).expect("text")
}

/// Runs SQL as one message, hence in one transaction unless it says otherwise.
pub(crate) fn execute(url: &str, sql: &str) -> Result<(), String> {
    let mut command = Command::new(programs().join("psql"));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn psql_command(url: &str, sql: &str) -> Command {
    let mut command = Command::new(programs().join("psql"));
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]);
    for statement in sql.split(";\n") {
        command.args(["-c", statement]);
    }
    command
}
