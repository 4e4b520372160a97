//! As systemd runs it: with sockets that are open already, and telling how it does.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use sessile_testkit::http::Client;

use super::{Directory, Server, shipped};

/// Moves two sockets to where systemd puts them and becomes the server, which keeps the number of the process.
const AS_SYSTEMD: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

fn handed_over(directory: &Directory, sockets: [TcpListener; 2], arguments: &[&str]) -> Command {
    let server = directory.serve(arguments);
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(AS_SYSTEMD).arg(server.get_program()).args(server.get_args());
    command.current_dir(&directory.0).env_clear().env("LISTEN_FDS", "2");
    command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let [public, admin] = sockets.map(OwnedFd::from);
    command.stdin(Stdio::from(public)).stdout(Stdio::from(admin));
    command
}

#[tokio::test]
async fn it_serves_on_the_sockets_that_it_is_given() {
    let directory = Directory::new();
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [public, admin] = sockets.each_ref().map(|socket| format!("http://{}", socket.local_addr().unwrap()));
    let server = Server::start(&mut handed_over(&directory, sockets, &[]));
    assert_eq!((&server.url, server.admin()), (&public, admin.as_str()));
    assert_eq!(Client::new(&public).get("/readyz").send().await.status, 200);
    assert_eq!(Client::new(&admin).get("/metrics").send().await.status, 200);
    assert_eq!(Client::new(&public).get("/metrics").send().await.status, 404);
}

#[test]
fn a_socket_too_many_is_named() {
    let directory = Directory::new();
    let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let output = handed_over(&directory, sockets, &["--no-admin"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("found 1 more; remove ListenStream= lines"), "{said}");
}

#[test]
fn systemd_is_told_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let directory = Directory::new();
    let path = directory.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let hear = || -> io::Result<String> {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
    };
    let mut command = directory.serve(&["--no-admin"]);
    let server = Server::start(command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000"));
    assert_eq!(hear().unwrap(), "READY=1");
    assert_eq!((hear().unwrap(), hear().unwrap()), ("WATCHDOG=1".into(), "WATCHDOG=1".into()));
    assert_eq!(server.stop().0, Some(0));
    let mut last = hear().unwrap();
    while last == "WATCHDOG=1" {
        last = hear().unwrap();
    }
    assert_eq!(last, "STOPPING=1");
}

/// Where systemd's own tool is there, it reads the units and finds nothing to complain about.
#[test]
fn the_units_are_sound() {
    let there = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        return;
    }
    let directory = Directory::new();
    let unit = |name: &str| {
        let path = directory.0.join(name);
        let text = shipped(&format!("deploy/{name}")).replace("/usr/local/bin/sessile", env!("CARGO_BIN_EXE_sessile"));
        fs::write(&path, text).unwrap();
        path
    };
    let units = [unit("sessile.service"), unit("sessile.socket")];
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("sessile."), "{said}");
}
