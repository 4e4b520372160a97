//! Run by systemd: sockets that it opened, and telling it how the server does. Elsewhere all of this is nothing.

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// The sockets that were handed over, in the order of the `.socket` unit: the public one, then the operators'.
pub(crate) struct Sockets {
    sockets: ListenFd,
    next: usize,
}

impl Sockets {
    /// Those that this process was started with.
    pub(crate) fn handed_over() -> Self {
        Self { sockets: ListenFd::from_env(), next: 0 }
    }

    /// The next one; `None` when there are no more.
    pub(crate) fn take(&mut self) -> std::io::Result<Option<TcpListener>> {
        let number = self.next;
        self.next += 1;
        if number >= self.sockets.len() {
            return Ok(None);
        }
        let Some(listener) = self.sockets.take_tcp_listener(number)? else { return Ok(None) };
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Some)
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.sockets.len().saturating_sub(self.next)
    }
}

/// The server serves. From now on the watchdog is told that it still does, where the unit asks for that.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    info!("systemd restarts this server when it does not say for {} s that it lives", patience.as_secs());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(patience / 2);
        loop {
            ticks.tick().await;
            tell(NotifyState::Watchdog);
        }
    });
}

/// The server ends.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd could not be told how this server does");
    }
}
