//! What every server of this command has in common: how it comes to its socket, and how it stops.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

/// How long requests in progress may take to end when the server is stopped.
const GRACE: Duration = Duration::from_secs(10);

/// Opens a socket. `flag` is where another address can be said.
pub(crate) async fn listen(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is taken by another program; choose another port with {flag}, or any free one with \
             {flag} 127.0.0.1:0"
        ),
        ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "expected an address of this computer, found {address}, which is none; choose one that is, like {flag} \
             127.0.0.1:8080, or all with {flag} 0.0.0.0:8080"
        ),
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "the system does not let this program listen on {address}; choose a port from 1024 on with {flag}, or let \
             systemd open the socket"
        ),
        ErrorKind::InvalidInput => {
            anyhow::anyhow!("expected HOST:PORT, like {flag} 127.0.0.1:8080, found {address:?}")
        }
        _ => anyhow::Error::from(error)
            .context(format!("cannot listen on {address:?}; choose another address with {flag}, like 127.0.0.1:8080")),
    })
}

/// Serves until the process is told to stop; then requests in progress are finished, but not waited for forever, nor after
/// it is told again. `stopping` is called when it is told.
pub(crate) async fn serve(
    servers: Vec<(TcpListener, Router)>,
    mut stop: Stop,
    stopping: impl FnOnce(),
) -> anyhow::Result<()> {
    let (told, hears) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for (listener, app) in servers {
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, app).with_graceful_shutdown(stopped(hears.clone()));
        tasks.spawn(served.into_future());
    }
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    let too_late = async {
        stop.told().await;
        info!("stopping; requests in progress are finished first");
        stopping();
        told.send_replace(true);
        tokio::select! {
            () = tokio::time::sleep(GRACE) => format!("some requests did not end within {} s", GRACE.as_secs()),
            () = stop.told() => "told to stop a second time; some requests did not end yet".to_owned(),
        }
    };
    tokio::select! {
        served = all => served?,
        why = too_late => warn!("{why} and were cut off"),
    }
    Ok(())
}

async fn stopped(mut hears: watch::Receiver<bool>) {
    let _ = hears.wait_for(|told| *told).await;
}

/// What tells a server to stop: SIGINT (Ctrl-C) or SIGTERM. To be made before the server says that it is there, so that
/// whoever heard that can stop it in order.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
impl Stop {
    pub(crate) fn heed() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    pub(crate) async fn told(&mut self) {
        let [interrupted, terminated] = &mut self.signals;
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn heed() -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn told(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
