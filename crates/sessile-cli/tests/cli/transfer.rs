//! `sessile export` and `sessile import`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;
use sessile_testkit::http::Browser;

use crate::support::{Place, SECRET, sign_in, sign_in_as, stderr};

/// A demo's sessions: Ada is signed in, Grace was and is not any more, an anonymous visitor has a cart.
async fn lived(place: &Place) -> [Browser; 3] {
    let demo = place.demo();
    let [ada, grace, nobody] = [(); 3].map(|()| Browser::new(&demo.url));
    assert_eq!(sign_in(&ada).await.status, 303);
    assert_eq!(sign_in_as(&grace, "grace", "compiler", "Fish/1").await.status, 303);
    assert_eq!(place.run(&["revoke", "--user", "grace", "--yes", "--reason", "lost phone"]).0, Some(0));
    [ada, grace, nobody]
}

/// The same browser at another address.
fn moved(browser: &Browser, url: &str) -> Browser {
    let other = Browser::new(url);
    other.set_cookie("sid", &browser.cookie("sid").unwrap());
    other
}

fn exported(place: &Place) -> PathBuf {
    let file = place.directory.0.join("moving.jsonl");
    let (code, out, err) = place.run(&["export", "--output", "moving.jsonl"]);
    assert_eq!((code, &*out), (Some(0), ""), "{err}");
    assert!(
        err.contains("written into moving.jsonl") && err.contains("Keep that file as you keep the database"),
        "{err}"
    );
    file
}

async fn nobody_is_signed_out_between(from: &Place, to: &Place) {
    let [ada, grace, _] = lived(from).await;
    let file = exported(from);
    let words = ["import", file.to_str().unwrap(), "--yes"];
    let (code, out, err) = to.run(&words);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert!(out.ends_with("there already or over: 0\n"), "{out}");

    let demo = to.demo();
    assert!(moved(&ada, &demo.url).get("/").send().await.text().contains("Ada Lovelace"));
    assert!(!moved(&grace, &demo.url).get("/").send().await.text().contains("Grace Hopper"));
    // The visit above moved these two.
    let without_time = |mut sessions: Vec<Value>| {
        for session in &mut sessions {
            session["last_seen_at"] = Value::Null;
            session["expires_at"] = Value::Null;
        }
        sessions
    };
    assert_eq!(without_time(to.listed(&["list"])), without_time(from.listed(&["list"])));
    let history = to.listed(&["history", "--user", "grace"]);
    assert_eq!((history.len(), &history[0]["reason"]), (1, &"lost phone".into()));
    assert_eq!(history, from.listed(&["history", "--user", "grace"]));

    let again = &to.listed(&words)[0];
    assert_eq!(again["written"], 0, "nothing is written twice: {again}");
    assert_eq!(to.run(&["revoke", "--user", "ada", "--yes"]).0, Some(0));
    assert_eq!(to.run(&words).0, Some(0));
    let out = moved(&ada, &demo.url).get("/").send().await;
    assert!(!out.text().contains("Ada Lovelace"), "what ended here is not brought back by an import");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_from_postgresql_to_sqlite_and_stay_signed_in() {
    nobody_is_signed_out_between(&Place::postgres().await, &Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_from_sqlite_to_postgresql_and_stay_signed_in() {
    nobody_is_signed_out_between(&Place::sqlite(), &Place::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_from_postgresql_to_redis_and_stay_signed_in() {
    let server = sessile_testkit::redis::Server::start();
    nobody_is_signed_out_between(&Place::postgres().await, &Place::at(server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_move_from_redis_to_sqlite_and_stay_signed_in() {
    let server = sessile_testkit::redis::Server::start();
    nobody_is_signed_out_between(&Place::at(server.url()), &Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_does_as_well_as_a_file() {
    let (from, to) = (Place::postgres().await, Place::sqlite());
    let [ada, ..] = lived(&from).await;
    let mut export = from.command(&["export"]).stdout(Stdio::piped()).spawn().unwrap();
    let import = to.command(&["import", "-", "--yes"]).stdin(export.stdout.take().unwrap()).output().unwrap();
    assert!(export.wait().unwrap().success() && import.status.success(), "{}", stderr(&import));
    assert!(moved(&ada, &to.demo().url).get("/").send().await.text().contains("Ada Lovelace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_the_owners_alone_and_says_what_it_is() {
    let place = Place::sqlite();
    lived(&place).await;
    let file = exported(&place);
    let lines: Vec<Value> =
        fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let head = &lines[0];
    assert_eq!((&head["format"], &head["version"]), (&"sessile-export".into(), &1.into()));
    assert_eq!(head["keys"], "sha256");
    let end = &lines.last().unwrap()["end"];
    assert_eq!((&end["sessions"], &end["devices"]), (&1.into(), &2.into()), "{end}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let (code, _, err) = place.run(&["export", "--output", "moving.jsonl"]);
    assert!(code == Some(2) && err.contains("expected a file that is not there yet"), "{err}");
    assert_eq!(place.run(&["export", "--output", "nowhere/x"]).0, Some(1));
}

/// What a file that is not as it was written is answered with, and that it changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_is_refused_before_anything_is_written() {
    let (from, to) = (Place::sqlite(), Place::sqlite());
    lived(&from).await;
    drop(to.demo());
    let whole = fs::read_to_string(exported(&from)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let count = lines.len();
    let last = format!("line {count}: the lines before it are not those that were written");
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    for (text, told) in [
        (
            joined(&lines[..count - 1]),
            format!("line {count}: the file ends here, before its last line; it was cut off"),
        ),
        (whole[..whole.len() - 9].to_owned(), format!("line {count}: the file ends here")),
        (whole.replace("lost phone", "lost purse"), last.clone()),
        (joined(&[&lines[..2], &lines[3..]].concat()), last.replace(&count.to_string(), &(count - 1).to_string())),
        (whole.replacen("\"session\"", "\"row\"", 1), "line 2: expected session, device, owner_cut_off".to_owned()),
        (whole.replacen("{\\\"cookie\\\"", "[{\\\"cookie\\\"", 1), "line 2: ".to_owned()),
        (joined(&[lines[0], "hello"]), "line 2: expected JSON".to_owned()),
        (whole.clone() + "\n", format!("line {count}: expected this to be the last line")),
        (whole.replacen("\"sha256\"", "\"raw\"", 1), "line 1: expected keys in the form sha256".to_owned()),
        (whole.replacen("\"version\":1", "\"version\":2", 1), "line 1: expected version 1".to_owned()),
        (joined(&["{}"]), "line 1: expected a file that `sessile export` wrote".to_owned()),
        (String::new(), "line 1: the file ends here".to_owned()),
    ] {
        fs::write(to.directory.0.join("changed"), text).unwrap();
        for words in [&["import", "changed", "--yes"][..], &["import", "changed", "--dry-run"]] {
            let (code, out, err) = to.run(words);
            assert_eq!((code, &*out), (Some(2), ""), "{err}");
            assert!(err.contains(&told), "{told:?} is not in {err}");
        }
    }
    assert_eq!(to.listed(&["stats"])[0]["total"], 0, "nothing was written");
    for (words, code, told) in [
        (&["import", "missing", "--yes"][..], 2, "found none to read at missing"),
        (&["import", ".", "--yes"], 2, "expected a file, found something else"),
        (&["import"], 2, "<FILE>"),
    ] {
        let (ended, _, err) = to.run(words);
        assert!(ended == Some(code) && err.contains(told), "{words:?}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_asks_and_a_dry_run_only_looks() {
    let (from, to) = (Place::sqlite(), Place::sqlite());
    lived(&from).await;
    let file = exported(&from);
    let file = file.to_str().unwrap();
    let (code, out, err) = to.run(&["import", file]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(err.contains("expected --yes"), "{err}");
    let dry = to.prints(&["import", file, "--dry-run"]);
    assert!(dry.starts_with("the file is whole; sessions: 1, rows of the registry: 2"), "{dry}");
    assert!(!to.directory.0.join("x.sqlite").exists(), "nothing is created");
}

/// A table of sessions that others keep locked makes the export wait for as long as the test needs.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_stopped_leaves_no_file() {
    let place = Place::postgres().await;
    lived(&place).await;
    let client = place.database.as_ref().unwrap().client().await;
    client.batch_execute("BEGIN; LOCK TABLE session IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let files =
        || -> Vec<_> { fs::read_dir(&place.directory.0).unwrap().map(|file| file.unwrap().file_name()).collect() };
    let mut export = place.command(&["export", "--output", "moving.jsonl"]).stderr(Stdio::piped()).spawn().unwrap();
    while files().is_empty() && export.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_ne!(files(), ["moving.jsonl"], "it has its name when it is whole");
    let told = std::process::Command::new("kill").arg(export.id().to_string()).status().unwrap();
    assert!(told.success());
    let output = export.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("the export was stopped; nothing was written"), "{}", stderr(&output));
    assert_eq!(files(), [""; 0]);
    client.batch_execute("COMMIT").await.unwrap();
    exported(&place);
    assert_eq!(files(), ["moving.jsonl"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_export_into_a_file_for_everybody_warns() {
    use std::os::unix::fs::OpenOptionsExt as _;

    let place = Place::sqlite();
    lived(&place).await;
    for (mode, warns) in [(0o644, true), (0o600, false)] {
        let path = place.directory.0.join(format!("{mode:o}.jsonl"));
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
        let output = place.command(&["export"]).stdout(file).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stderr(&output).contains("warning: other accounts"), warns, "{}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_under_other_secrets_warns_that_nobody_stays_signed_in() {
    let (from, to) = (Place::sqlite(), Place::sqlite());
    lived(&from).await;
    let mut export = from.command(&["export", "--output", "known.jsonl"]);
    assert!(export.env("SESSION_SECRET", SECRET).output().unwrap().status.success());
    let (known, unknown) = (from.directory.0.join("known.jsonl"), exported(&from));
    assert!(!fs::read_to_string(&known).unwrap().contains(SECRET));
    const OTHER: &str = "9hPzXo2bW1kqT8vYc3mN5sR7uE0aJ4dL";
    for (file, secret, warns) in [
        (&known, Some(OTHER.to_owned()), true),
        (&known, Some(format!("{OTHER},{SECRET}")), false),
        (&known, None, false),
        (&unknown, Some(OTHER.to_owned()), false),
    ] {
        let mut import = to.command(&["import", file.to_str().unwrap(), "--dry-run"]);
        let output = import.envs(secret.map(|secret| ("SESSION_SECRET", secret))).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stderr(&output).contains("nobody will stay signed in"), warns, "{}", stderr(&output));
    }
}

/// The most memory that the process had, as far as somebody looked.
fn peak(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    peak * 1024
}

/// The most memory that an export and an import of so many sessions of 16 kB take.
async fn peaks(rows: u32) -> [u64; 2] {
    let (from, to) = (Place::postgres().await, Place::sqlite());
    drop(from.demo());
    from.sql(&format!(
        "INSERT INTO session SELECT 'k' || n, ('{{\"cookie\":{{}},\"x\":\"' || repeat('x', 16000) || '\"}}')::json,
         now() + interval '1 day' FROM generate_series(1, {rows}) n"
    ))
    .await;
    let mut export = from.command(&["export", "--output", "moving.jsonl"]).stderr(Stdio::null()).spawn().unwrap();
    let exporting = peak(&mut export);
    assert!(export.wait().unwrap().success());
    let file = from.directory.0.join("moving.jsonl");
    let mut import = to.command(&["import", file.to_str().unwrap(), "--yes"]).stdout(Stdio::null()).spawn().unwrap();
    let importing = peak(&mut import);
    assert!(import.wait().unwrap().success());
    assert_eq!(to.listed(&["stats"])[0]["active"], rows);
    assert!(exporting > 0 && importing > 0);
    [exporting, importing]
}

/// SQLite's own cache of pages during an import, which a small import does not fill.
#[cfg(target_os = "linux")]
const PAGES: u64 = 64 << 20;

/// Held in memory, the difference would be at least the 100 MB that there are more. The smaller one has several steps, too: the
/// second is read while the first is written.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_move_takes_the_same_memory_however_many_sessions_there_are() {
    let (few, many) = (peaks(1_500).await, peaks(8_000).await);
    for ((few, many), allowed) in few.into_iter().zip(many).zip([0, PAGES]) {
        assert!(many < few + allowed + 8_000_000, "{many} bytes for 8,000 sessions, {few} for 1,500");
    }
}
