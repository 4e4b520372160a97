//! `sessile serve --probe`: asks the server that these settings describe whether it is ready. For health checks of
//! containers, whose images have neither a shell nor `curl`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use sessile::Error;
use sessile::settings::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the answer may take; the server itself waits two seconds for its store.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 4 * 1024;

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let address = from_here(&settings.server().listen);
    let asked = tokio::time::timeout(PATIENCE, ask(&address)).await;
    let answer = asked.with_context(|| format!("{address} did not answer within {} s", PATIENCE.as_secs()))??;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    if answer.starts_with("HTTP/1.1 503 ") {
        return Err(Error::unavailable("the server is not ready: its session store does not answer").into());
    }
    bail!("expected {address} to be this server, found one that answers /readyz in another way")
}

/// All addresses of this computer are for a probe on it, too.
fn from_here(listen: &str) -> String {
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, ""));
    match host {
        "0.0.0.0" => format!("127.0.0.1:{port}"),
        "[::]" => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

async fn ask(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("nothing listens on {address}"))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
