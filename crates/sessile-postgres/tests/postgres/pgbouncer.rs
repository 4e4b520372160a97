//! A real PgBouncer before the server: what the doctor says of it, and that sessions work through it.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sessile_core::{Check, Clock as _, Examine, SystemClock, Verdict};
use sessile_postgres::{PostgresBuilder, PostgresStore};
use sessile_testkit::http::free_port;
use sessile_testkit::postgres::Database;

use crate::browser;

/// A PgBouncer of our own, which ends with it.
struct Bouncer {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Bouncer {
    /// Before this database's server. `None` when PgBouncer is not installed, which continuous integration must not miss.
    async fn start(database: &Database, mode: &str, settings: &str) -> Option<Self> {
        let Some(program) =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists())
        else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "expected pgbouncer; apt-get install pgbouncer");
            return None;
        };
        let (port, server) = (free_port(), database.url().rsplit_once(':').unwrap().1);
        let (server_port, name) = server.split_once('/').unwrap();
        let name = name.split('?').next().unwrap();
        let directory = std::env::temp_dir().join(format!("sessile-pgbouncer-{port}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        let file = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\ndefault_pool_size = 5\n{settings}\n"
        );
        std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        let mut command = Command::new(program);
        command.arg("-q").arg(&file).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if std::fs::metadata(&directory).unwrap().uid() == 0 {
            // It refuses to run as root.
            command.uid(65534).gid(65534);
        }
        let child = command.spawn().unwrap();
        let bouncer = Self { child, directory, url: format!("postgres://postgres@127.0.0.1:{port}/{name}") };
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "pgbouncer did not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(bouncer)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait(), std::fs::remove_dir_all(&self.directory));
    }
}

async fn pooler(builder: PostgresBuilder) -> Check {
    let checks = Examine::examine(&builder.connect_lazy().unwrap(), SystemClock.now()).await;
    checks.iter().find(|check| check.name == "postgres.pooler").cloned().unwrap_or_else(|| panic!("{checks:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_found_however_it_picks_its_servers() {
    let database = Database::new().await;
    PostgresStore::connect(database.url()).await.unwrap();
    for round_robin in ["server_round_robin = 0", "server_round_robin = 1"] {
        let Some(bouncer) = Bouncer::start(&database, "transaction", round_robin).await else { return };
        let found = pooler(PostgresStore::builder(&bouncer.url)).await;
        assert!(found.verdict == Verdict::Warning && found.finding.contains("PgBouncer"), "{round_robin}: {found:?}");
        assert!(found.remedy.unwrap().contains("unnamed_statements(true)"));
        let found = pooler(PostgresStore::builder(&bouncer.url).unnamed_statements(true)).await;
        assert!(found.verdict == Verdict::Good && found.finding.contains("sent whole"), "{found:?}");
    }
    let Some(bouncer) = Bouncer::start(&database, "session", "").await else { return };
    assert_eq!(pooler(PostgresStore::builder(&bouncer.url)).await.verdict, Verdict::Good);
    assert_eq!(pooler(PostgresStore::builder(database.url())).await.verdict, Verdict::Good);
}

/// The doctor's whole round goes through a pooler too: nothing of it relies on keeping a server.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_the_doctor_work_through_a_pooler() {
    let database = Database::new().await;
    let Some(bouncer) = Bouncer::start(&database, "transaction", "").await else { return };
    let app = browser(PostgresStore::connect(&bouncer.url).await.unwrap()).await;
    assert_eq!(app.post("/login?user=alice").send().await.status, 200);
    for _ in 0..20 {
        let others: Vec<_> = (0..8).map(|_| tokio::spawn(app.get("/whoami").send())).collect();
        for other in others {
            assert_eq!(other.await.unwrap().json()["user"], "alice");
        }
        assert_eq!(app.post("/incr?k=n").send().await.status, 200);
    }
    assert_eq!(app.get("/read?k=n").send().await.json()["value"], 20);
    let store = PostgresStore::builder(&bouncer.url).unnamed_statements(true).connect_lazy().unwrap();
    let checks = Examine::examine(&store, SystemClock.now()).await;
    let bad: Vec<_> = checks.iter().filter(|check| check.verdict != Verdict::Good).map(|check| check.name).collect();
    assert_eq!(bad, ["postgres.fsync"], "{checks:#?}");
}
