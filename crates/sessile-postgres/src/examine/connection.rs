//! Whether the server can be reached, and over what: what stands between a failed connection and its cause is told apart,
//! for each has another remedy.

use std::error::Error as _;
use std::net::IpAddr;

use sessile_core::{Check, Error};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use super::Look;
use crate::PostgresStore;
use crate::connect::takes_no_writes;
use crate::rows::get;
use crate::servers;

const REACHABLE: &str = "postgres.reachable";
const TLS: &str = "postgres.tls";

/// Connects; what comes of it is the first finding.
pub(super) async fn open(store: &PostgresStore, checks: &mut Vec<Check>) -> Option<Client> {
    let connector = store.connector();
    let (limit, place) = (store.settings().connect_timeout, place(&connector.config));
    let check = match tokio::time::timeout(limit, connector.open()).await {
        Ok(Ok((client, _task))) => {
            let place = reached(&client, &connector.config).await.unwrap_or(place);
            checks.push(Check::good(REACHABLE, format!("Connected to {place}.")));
            return Some(client);
        }
        Ok(Err(error)) => refusal(&place, &error),
        Err(_) => silent(&place, &format!("{limit:?}")),
    };
    checks.push(check);
    None
}

/// Where it is connected to, and as whom. Not with which password.
fn place(config: &Config) -> String {
    let hosts: Vec<_> = servers::each(config).iter().map(host).collect();
    named(config, &hosts.join(" and "))
}

fn host(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Tcp(name)) => format!("{name}:{port}"),
        #[cfg(unix)]
        Some(Host::Unix(path)) => format!("the socket in {}", path.display()),
        None => config.get_hostaddrs().first().map_or("no host".into(), |address| format!("{address}:{port}")),
    }
}

/// Which of several hosts it was, as the server says. A single host is called as the URL calls it.
async fn reached(client: &Client, config: &Config) -> Option<String> {
    const SERVER: &str = "SELECT host(inet_server_addr()) || ':' || inet_server_port()";
    if config.get_hosts().len().max(config.get_hostaddrs().len()) < 2 {
        return None;
    }
    let row = client.query_typed_one(SERVER, &[]).await.ok()?;
    get::<Option<&str>>(&row, 0).ok()?.map(|server| named(config, server))
}

fn named(config: &Config, host: &str) -> String {
    let user = config.get_user().unwrap_or("nobody");
    format!("{host}, database {}, as {user}", config.get_dbname().unwrap_or(user))
}

fn silent(place: &str, limit: &str) -> Check {
    Check::failed(
        REACHABLE,
        format!("No answer from {place} within {limit}."),
        "Look whether the server runs, and whether a firewall or a wrong address swallows the packets.",
    )
}

/// Why the server was not reached, or would not have us.
fn refusal(place: &str, error: &tokio_postgres::Error) -> Check {
    if let Some(db) = error.as_db_error() {
        return refused(place, db.code(), db.message());
    }
    let kind = error.to_string();
    let cause = causes(error);
    let failed = |finding: String, remedy: &str| Check::failed(REACHABLE, finding, remedy);
    if kind.starts_with("error performing TLS handshake") {
        return tls_refusal(place, &cause);
    }
    if kind.starts_with("authentication error") || kind.starts_with("invalid configuration") {
        return failed(
            format!("The server at {place} asked for an authentication that failed: {cause}."),
            "Put the password into the database's URL, or have the server's pg_hba.conf ask for another method.",
        );
    }
    if kind.starts_with("timeout") {
        return silent(place, "the time limit");
    }
    if takes_no_writes(error) {
        return failed(
            format!("No server takes writes at {place}."),
            "Promote a standby, start the primary, or name it in the database's URL.",
        );
    }
    match io_kind(error) {
        Some(std::io::ErrorKind::ConnectionRefused) => failed(
            format!("Nothing listens at {place}: the connection was refused."),
            "Start the server, or correct host and port in the database's URL.",
        ),
        _ if cause.contains("lookup") || cause.contains("resolve") => failed(
            format!("The name of the host was not found: {place} ({cause})."),
            "Correct the host in the database's URL, or the name server's entry.",
        ),
        _ => failed(
            format!("The connection to {place} broke: {cause}."),
            "Look whether the server runs and listens on that address (listen_addresses).",
        ),
    }
}

/// The server answered, and refused.
fn refused(place: &str, code: &SqlState, message: &str) -> Check {
    let (what, remedy) = match code.code() {
        "28P01" => ("the password is wrong", "Correct user and password in the database's URL."),
        "28000" => (
            "this user may not connect so",
            "Add a line to the server's pg_hba.conf, or use the user, database and sslmode that it allows.",
        ),
        "3D000" => ("there is no such database", "Create it (CREATE DATABASE), or correct the database's URL."),
        "53300" => (
            "too many connections are open",
            "Close what holds them, set a smaller database.pool.max, or raise the limit that the server names: max_connections, \
             or the CONNECTION LIMIT of the role or the database (ALTER ROLE, ALTER DATABASE).",
        ),
        "57P03" => {
            ("it is starting up or shutting down", "Wait until it is up; the server's log says why it takes long.")
        }
        _ => ("it says why", "Look into the server's log."),
    };
    let code = code.code();
    Check::failed(REACHABLE, format!("{place}: the server refused, {what}: {message} (SQLSTATE {code})."), remedy)
}

fn tls_refusal(place: &str, cause: &str) -> Check {
    let (what, remedy) = if cause.contains("certificate") {
        (
            "its certificate is not one to trust",
            "Name the authority that issued it with sslrootcert=FILE, and the host as the certificate does.",
        )
    } else if cause.contains("not support TLS") {
        (
            "the URL demands TLS and the server offers none",
            "Turn it on at the server (ssl = on), or set sslmode=prefer.",
        )
    } else {
        ("TLS failed", "Compare the TLS versions that the server allows (ssl_min_protocol_version).")
    };
    Check::failed(REACHABLE, format!("{place}: {what}: {cause}."), remedy)
}

/// What the driver's error is made of, in words.
fn causes(error: &tokio_postgres::Error) -> String {
    let mut words = error.source().map(ToString::to_string).unwrap_or_default();
    let mut cause = error.source().and_then(|source| source.source());
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

fn io_kind(error: &tokio_postgres::Error) -> Option<std::io::ErrorKind> {
    error.source()?.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

/// Whether what is sent can be read on the way.
pub(super) async fn examine(look: &Look<'_>, checks: &mut Vec<Check>) -> Result<(), Error> {
    const SSL: &str = "SELECT coalesce(version, '') FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let connector = look.store.connector();
    let rows = look.query(SSL, &[]).await?;
    checks.push(match rows.first() {
        Some(row) if connector.verifies => {
            Check::good(TLS, format!("Encrypted with {}; the server's certificate is checked.", get::<&str>(row, 0)?))
        }
        Some(row) if is_local(&connector.config) => Check::good(
            TLS,
            format!(
                "Encrypted with {}; the server's certificate is not checked (sslmode=verify-full would), and the server is on \
                 this host.",
                get::<&str>(row, 0)?
            ),
        ),
        Some(row) => Check::warning(
            TLS,
            format!(
                "Encrypted with {}, and the server's certificate is not checked: whoever is on the way can pass for the server.",
                get::<&str>(row, 0)?
            ),
            "Set sslmode=verify-full in the database's URL, and sslrootcert=FILE for an authority of your own.",
        ),
        None if is_local(&connector.config) => {
            Check::good(TLS, "Not encrypted, and the server is on this host: nothing leaves it.")
        }
        // A pooler may take the encryption off on its own way to the server.
        None if connector.config.get_ssl_mode() == SslMode::Require => {
            Check::good(TLS, "Encrypted as the URL demands; a pooler goes on to the server without.")
        }
        None => Check::warning(
            TLS,
            "Not encrypted, and the server is on another host: sessions and the password's hash can be read on the way.",
            "Turn TLS on at the server (ssl = on) and set sslmode=verify-full in the database's URL.",
        ),
    });
    Ok(())
}

/// Whether the server is on this host, as far as the URL says.
fn is_local(config: &Config) -> bool {
    let is_loopback = |host: &Host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(is_loopback) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}
