//! What can be decided about a [`RedisStore`], and opening it.

use std::fmt;
use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};
use sessile_core::Error;

use crate::RedisStore;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::link::{Link, within};
use crate::replicas::{Replicas, Waiting};
use crate::road::Road;
use crate::server::Server;

/// How often a cluster's client follows a key that moved, or tries another server, before it gives up.
const CLUSTER_RETRIES: u32 = 4;

/// How long a connection on which nothing happens is trusted, how long one on which something was sent and nobody
/// confirms that it came, and how often the first is asked about after that.
const QUIET: Duration = Duration::from_secs(10);
const UNCONFIRMED: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_secs(3);

/// Settings of a [`RedisStore`]; made by [`RedisStore::builder`].
#[derive(Clone)]
pub struct RedisBuilder {
    url: String,
    pub(crate) prefix: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    allow_eviction: bool,
    wait_replicas: Option<Replicas>,
    root_certificate: Option<Vec<u8>>,
}

impl RedisBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            prefix: "sessile:".into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            allow_eviction: false,
            wait_replicas: None,
            root_certificate: None,
        }
    }

    /// What all names of the store's keys begin with. Default `sessile:`. Stores with different ones know nothing of each
    /// other.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long connecting may take. Default 2 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one command may take before the store counts as unavailable. Default 5 seconds.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Whether a server may be used that throws keys away when its memory is full. Default false: users would be signed
    /// out at random, and worse, the note that a session was ended could go before the session.
    pub fn allow_eviction(mut self, allow: bool) -> Self {
        self.allow_eviction = allow;
        self
    }

    /// Sign-outs and revocations wait until so many replicas have them, and fail as unavailable when they do not within
    /// this time. Default: none. Replication is asynchronous, so without this a sign-out that was acknowledged in the last
    /// moments of a server that then dies may be unknown to the replica that takes over, and the session lives on.
    pub fn wait_replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.wait_replicas = (count > 0).then_some(Replicas { count, timeout });
        self
    }

    /// The certificate, as PEM, that the server's own has to lead to. Default: those that the operating system trusts.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// Connects, and looks at the server's settings.
    ///
    /// # Errors
    /// When the settings are wrong, the server cannot be reached, is a replica, or may throw live sessions away.
    ///
    /// # Panics
    /// Outside a tokio runtime. For `rediss://` when several cryptography providers of `rustls` are compiled in and the
    /// application has not installed one.
    pub async fn connect(self) -> Result<RedisStore, Error> {
        if self.prefix.contains(['{', '}']) {
            return Err(Error::config(
                "expected a prefix without braces, which mark what belongs together in a cluster; found one with braces; choose another",
            ));
        }
        let addresses = Addresses::parse(&self.url)?;
        let patience = self.response_timeout;
        let waiting = self.wait_replicas.map(|replicas| {
            let lane = Lane::new(Opener::new(&self, &addresses, patience + replicas.timeout));
            Waiting::new(lane, replicas, patience)
        });
        let lane = Lane::new(Opener::new(&self, &addresses, patience));
        lane.road().await.map_err(Failure::at_start)?;
        let link = Link { lane, waiting, patience, is_cluster: addresses.cluster };
        let server = Server::look(&link, addresses.shown()).await?;
        server.refuse_eviction(self.allow_eviction)?;
        RedisStore::new(link, server, &self.prefix)
    }

    async fn server(&self, addresses: &Addresses, protocol: ProtocolVersion) -> Result<Road, Failure> {
        let mut info = addresses.nodes[0].clone();
        let settings = info.redis_settings().clone().set_protocol(protocol);
        info = info.set_redis_settings(settings).set_tcp_settings(tcp_settings());
        let client = match self.certificates() {
            Some(certificates) if is_tls(&info) => Client::build_with_tls(info, certificates)?,
            _ => Client::open(info)?,
        };
        // Whoever asks knows how long to wait for an answer.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(self.connect_timeout)).set_response_timeout(None);
        let limit = self.connect_timeout;
        within(limit, async {
            Road::to_server(client.get_multiplexed_async_connection_with_config(&config).await?).await
        })
        .await
    }

    async fn cluster(
        &self,
        addresses: &Addresses,
        protocol: ProtocolVersion,
        patience: Duration,
    ) -> Result<Road, Failure> {
        let mut builder = ClusterClient::builder(addresses.nodes.clone())
            .use_protocol(protocol)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(50)
            .max_retry_wait(500)
            .connection_timeout(self.connect_timeout)
            .response_timeout(patience)
            .overall_response_timeout(Some(patience))
            .tcp_settings(tcp_settings());
        if let Some(certificates) = self.certificates() {
            builder = builder.certs(certificates);
        }
        Ok(Road::Cluster(builder.build()?.get_async_connection().await?))
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = Some(self.root_certificate.clone()?);
        Some(TlsCertificates { client_tls: None, root_cert })
    }
}

/// Everything but the URL, which has a password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Small commands are sent at once, and a server that is gone without a word is noticed.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(AGAIN);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(UNCONFIRMED);
    settings
}

/// Opens roads, again and again.
pub(crate) struct Opener {
    settings: RedisBuilder,
    addresses: Addresses,
    /// How long an answer of a cluster may take.
    patience: Duration,
}

impl Opener {
    fn new(settings: &RedisBuilder, addresses: &Addresses, patience: Duration) -> Self {
        Self { settings: settings.clone(), addresses: addresses.clone(), patience }
    }

    /// Speaks RESP3 where the server does.
    pub(crate) async fn open(&self) -> Result<Road, Failure> {
        match self.open_with(ProtocolVersion::RESP3).await {
            Err(Failure::Redis(error)) if !error.is_io_error() => self.open_with(ProtocolVersion::RESP2).await,
            road => road,
        }
    }

    async fn open_with(&self, protocol: ProtocolVersion) -> Result<Road, Failure> {
        match self.addresses.cluster {
            true => self.settings.cluster(&self.addresses, protocol, self.patience).await,
            false => self.settings.server(&self.addresses, protocol).await,
        }
    }
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// Where to connect to.
#[derive(Clone)]
struct Addresses {
    nodes: Vec<ConnectionInfo>,
    cluster: bool,
}

impl Addresses {
    /// Reads `redis://`, `rediss://` and `redis+unix://`, and `redis+cluster://` and `rediss+cluster://` with several
    /// servers divided by commas. `valkey` is another word for `redis`.
    fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").ok_or_else(not_a_url)?;
        let Some(scheme) = scheme.strip_suffix("+cluster") else {
            return Ok(Self { nodes: vec![node(url)?], cluster: false });
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = hosts.rsplit_once('@').map_or(("", hosts), |(user, hosts)| (user, hosts));
        let at = if user.is_empty() { "" } else { "@" };
        let nodes = hosts.split(',').map(|host| node(&format!("{scheme}://{user}{at}{host}/{path}")));
        Ok(Self { nodes: nodes.collect::<Result<_, _>>()?, cluster: true })
    }

    /// The hosts and ports, for a log line.
    fn shown(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        let kind = if self.cluster { "cluster at " } else { "" };
        format!("{kind}{}", nodes.join(","))
    }
}

fn node(url: &str) -> Result<ConnectionInfo, Error> {
    url.into_connection_info().map_err(|_| not_a_url())
}

fn not_a_url() -> Error {
    Error::config(
        "expected a URL like redis://host:6379, rediss://user:password@host:6380 or redis+cluster://host:6379,host:6380; found another; correct it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_or_several_of_a_cluster() {
        let shown = |url: &str| Addresses::parse(url).map(|addresses| addresses.shown());
        assert_eq!(shown("redis://localhost").unwrap(), "localhost:6379");
        assert_eq!(shown("rediss://u:secret@db.example:6380/2").unwrap(), "db.example:6380");
        assert_eq!(shown("valkey://127.0.0.1:7").unwrap(), "127.0.0.1:7");
        let cluster = shown("redis+cluster://u:secret@a:1,b:2,c:3").unwrap();
        assert_eq!(cluster, "cluster at a:1,b:2,c:3");
        for wrong in ["", "localhost", "http://localhost", "postgres://a/b", "redis+cluster://u:secret@a:1,:2"] {
            let error = shown(wrong).unwrap_err();
            assert!(error.is_config() && !format!("{error:?}").contains("secret"), "{wrong}: {error:?}");
        }
    }

    #[test]
    fn nothing_prints_a_password() {
        let builder = RedisStore::builder("redis://user:secret@localhost");
        assert!(!format!("{builder:?}").contains("secret"));
    }
}
