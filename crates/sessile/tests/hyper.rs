//! The example without a framework, as a program, over loopback; and the page of the book that shows it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "what goes wrong here fails the test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The example, for as long as the test runs.
struct Example {
    process: Child,
    address: SocketAddr,
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Example {
    fn start() -> Self {
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/hyper");
        assert!(program.exists(), "expected {program:?}: run `cargo build -p sessile --examples`");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let secret = "a secret of more than thirty-two characters";
        let process = Command::new(program).arg(address.to_string()).env("SESSION_SECRET", secret).spawn().unwrap();
        let example = Self { process, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "expected the example to listen, found that it does not"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        example
    }

    fn ask(&self, request: &str, cookie: Option<&str>) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    /// The cookie as it was set, its attributes included.
    fn set_cookie(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("set-cookie: "))
    }
}

#[test]
fn the_example_signs_in_reads_and_signs_out() {
    let example = Example::start();
    let nobody = example.ask("GET /", None);
    assert_eq!((nobody.status, nobody.set_cookie()), (401, None));
    assert!(nobody.head.contains("content-type: application/json"), "{}", nobody.head);
    let welcome = example.ask("POST /sign-in/ada", None);
    let cookie = welcome.set_cookie().unwrap().split(';').next().unwrap();
    for visit in 1..3 {
        let home = example.ask("GET /", Some(cookie));
        assert_eq!((home.status, home.body), (200, format!("visit {visit} of ada")));
    }
    let forged = format!("{cookie}A");
    assert_eq!(example.ask("GET /", Some(&forged)).status, 401);
    let goodbye = example.ask("POST /sign-out", Some(cookie));
    assert!(goodbye.set_cookie().unwrap().starts_with("sid=;"), "{}", goodbye.head);
    assert!(
        goodbye.head.contains("cache-control: no-store") && goodbye.head.contains("vary: Cookie"),
        "{}",
        goodbye.head
    );
    assert_eq!(example.ask("GET /", Some(cookie)).status, 401, "the session is over, and not only its cookie");
    assert_eq!(example.ask("GET /nowhere", None).status, 404);
}

#[test]
fn the_book_shows_the_example_that_is_compiled() {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let page = read("../../docs/src/other-frameworks.md");
    let shown = page.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    let example = read("examples/hyper.rs");
    let compiled = example.split_once("\n\n").unwrap().1;
    assert_eq!(shown, compiled);
}
