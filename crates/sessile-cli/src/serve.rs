//! `sessile serve`: signing in, "your devices" and the sweeper for an application, and beside them, on a listener of their
//! own, what is for operators: the dashboard, metrics, health.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::bail;
use axum::Router;
use sessile::metrics::MetricsObserver;
use sessile::settings::{LogFormat, Settings};
use sessile::{Sessions, TracingObserver};
use sessile_server::admin::{self, Admin, Figures};
use sessile_server::health::{self, Readiness};
use sessile_server::metrics::{self, Prometheus};
use sessile_server::public;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::args::ServeArgs;
use crate::serving::Stop;
use crate::systemd::{self, Sockets};
use crate::{logs, probe, provider, serving, store};

/// How often a store that does not answer is asked for the first operator, and whether the sweeper did a round.
const PAUSE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let settings = settings(&args)?;
    if args.probe {
        return probe::run(&settings).await;
    }
    let _traces = logs::start(settings.server())?;
    settings.warnings().iter().for_each(|warning| warn!("{warning}"));
    let stop = Stop::heed()?;
    let (listener, admin_listener) = listeners(&settings).await?;
    let prometheus = Prometheus::install()?;
    let figures = Figures::default();
    let sessions = open(&settings, &figures).await?;
    sessions.description().iter().for_each(|line| info!("{line}"));
    if let Some(every) = settings.sweep_interval() {
        sessions.spawn_sweeper(every);
    }
    tokio::spawn(prometheus.clone().keep_up());
    let readiness = Readiness::new(sessions.clone());
    let mut servers = Vec::new();
    if let Some(listener) = admin_listener {
        info!("listening for operators on http://{}", listener.local_addr()?);
        let metrics = metrics::router(prometheus, sessions.clone());
        let health = health::router(readiness.clone());
        let admin = dashboard(&sessions, &settings, figures)?;
        let metrics = admin.beside(metrics);
        servers.push((listener, admin::router(admin).merge(metrics).merge(health)));
    }
    let address = listener.local_addr()?;
    let app = public_app(&sessions, &settings, readiness, &provider::own_url(address)).await?;
    info!("listening on http://{address}");
    servers.push((listener, app));
    systemd::ready();
    serving::serve(servers, stop, systemd::stopping).await
}

/// What is typed is nearer than the rest.
fn settings(args: &ServeArgs) -> anyhow::Result<Settings> {
    let mut builder = store::settings(&args.store)?;
    if let Some(listen) = &args.listen {
        builder = builder.argument("--listen", "server.listen", listen);
    }
    if let Some(admin) = &args.admin {
        builder = builder.argument("--admin", "server.admin_listen", admin);
    }
    if args.no_admin {
        builder = builder.argument("--no-admin", "server.admin_listen", "none");
    }
    Ok(builder.resolve()?)
}

/// The public socket, and the operators' where there is to be one: systemd's, else those of the settings.
async fn listeners(settings: &Settings) -> anyhow::Result<(TcpListener, Option<TcpListener>)> {
    let (mut sockets, server) = (Sockets::handed_over(), settings.server());
    let public = match sockets.take()? {
        Some(socket) => socket,
        None => serving::listen(&server.listen, "--listen").await?,
    };
    let handed_over = if server.admin_listen.is_some() { sockets.take()? } else { None };
    if sockets.left() > 0 {
        bail!(
            "expected systemd to open one socket for everybody and one for operators, unless --no-admin, found {} more; \
             remove ListenStream= lines",
            sockets.left()
        );
    }
    let admin = match (handed_over, &server.admin_listen) {
        (Some(socket), _) => socket,
        (None, Some(address)) => {
            is_another(address, public.local_addr()?)?;
            serving::listen(address, "--admin").await?
        }
        (None, None) => return Ok((public, None)),
    };
    may_be_reached(admin.local_addr()?.ip(), server.admin_host.as_deref())?;
    Ok((public, Some(admin)))
}

/// One address cannot be for everybody and for operators.
fn is_another(admin: &str, public: SocketAddr) -> anyhow::Result<()> {
    if admin.parse() != Ok(public) {
        return Ok(());
    }
    let expected = "expected an address for everybody and another one for operators";
    bail!("{expected}, found {public} for both; choose another port with --admin, or leave it out with --no-admin")
}

/// A dashboard that the network reaches is meant to be only where somebody says under which name.
fn may_be_reached(ip: IpAddr, host: Option<&str>) -> anyhow::Result<()> {
    if host.is_some() || ip.to_canonical().is_loopback() {
        return Ok(());
    }
    bail!(
        "expected --admin to be an address of this computer alone, found {ip}, which others may reach; set \
         server.admin_host (ADMIN_HOST) to the host in the operators' address bar, put HTTPS before it, or leave it with --no-admin"
    )
}

/// The sessions, with everybody who wants to know what happens to them.
async fn open(settings: &Settings, figures: &Figures) -> anyhow::Result<Sessions> {
    let config = settings.config().observer(TracingObserver).observer(MetricsObserver::default());
    let (config, latencies) = (config.observer(figures.clone()), figures.clone());
    store::measured(settings, config, move |took| latencies.record_latency(took)).await
}

async fn public_app(
    sessions: &Sessions,
    settings: &Settings,
    readiness: Readiness,
    own_url: &str,
) -> anyhow::Result<Router> {
    let public_url = settings.public_url().unwrap_or(own_url);
    let provider = provider::open(false, settings, public_url).await?;
    let auth = provider.map(|provider| provider.auth(sessions, public_url)).transpose()?;
    Ok(public::router(sessions.clone(), readiness, auth))
}

/// The dashboard, which is told of sweeps and tells its first token.
fn dashboard(sessions: &Sessions, settings: &Settings, figures: Figures) -> anyhow::Result<Admin> {
    tokio::spawn(follow_sweeps(sessions.clone(), figures.clone()));
    let mut admin = Admin::new(sessions.clone())?.figures(figures).settings_checks(settings.examine());
    admin = admin.trusted_proxies(settings.trusted_proxies().iter().copied());
    if let Some(host) = &settings.server().admin_host {
        admin = admin.host(host).secure(!is_this_computer(host));
    }
    tokio::spawn(tell_first_token(admin.clone(), settings.server().log_format));
    Ok(admin)
}

/// Tells the dashboard of each round of the sweeper.
async fn follow_sweeps(sessions: Sessions, figures: Figures) {
    let (mut ticks, mut last) = (tokio::time::interval(PAUSE), None);
    loop {
        ticks.tick().await;
        let round = sessions.last_sweep();
        if let Some(round) = round.filter(|_| round != last) {
            figures.record_sweep(round.took, round.removed);
        }
        last = round;
        figures.record_sweep_failure(sessions.sweep_failed_at());
    }
}

/// Whether browsers that know the dashboard by this name come from here, and so need no HTTPS.
fn is_this_computer(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Where there is no operator yet there is one now, whose token is told here and never again. It waits for the store.
async fn tell_first_token(admin: Admin, format: LogFormat) {
    loop {
        match admin.first_token().await {
            Ok(None) => return,
            Ok(Some(token)) => {
                let told = "the dashboard's first operator is \"admin\", with this token, which is shown only now:";
                logs::tell(format, &format!("{told} {token}"));
                return logs::tell(
                    format,
                    "the token lies in this log now: add an operator of your own and remove this one \
                     (sessile operators add, remove)",
                );
            }
            Err(error) if error.is_unavailable() => tokio::time::sleep(PAUSE).await,
            Err(error) => return warn!(?error, "there may be nobody who can sign in to the dashboard"),
        }
    }
}
