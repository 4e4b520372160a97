//! What can be decided about a [`RedisStore`], and opening it.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates};
use sessile_core::Error;

use crate::RedisStore;
use crate::failure::Failure;
use crate::link::{Link, Replicas, Road};
use crate::server::Server;

/// How often a cluster's client follows a key that moved, or tries another server, before it gives up.
const CLUSTER_RETRIES: u32 = 4;

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
    /// When the settings are wrong, the server cannot be reached, or may throw live sessions away.
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
        let waiting = match self.wait_replicas {
            Some(replicas) => Some((self.road(&addresses).await?, replicas)),
            None => None,
        };
        let link = Link { road: self.road(&addresses).await?, waiting, patience: self.response_timeout };
        let server = Server::look(&link, addresses.shown()).await?;
        server.refuse_eviction(self.allow_eviction)?;
        RedisStore::new(link, server, &self.prefix)
    }

    /// Speaks RESP3 where the server does.
    async fn road(&self, addresses: &Addresses) -> Result<Road, Error> {
        match self.road_with(addresses, ProtocolVersion::RESP3).await {
            Err(Failure::Redis(error)) if !error.is_io_error() => {
                Ok(self.road_with(addresses, ProtocolVersion::RESP2).await?)
            }
            road => Ok(road?),
        }
    }

    async fn road_with(&self, addresses: &Addresses, protocol: ProtocolVersion) -> Result<Road, Failure> {
        if addresses.cluster { self.cluster(addresses, protocol).await } else { self.server(addresses, protocol).await }
    }

    async fn server(&self, addresses: &Addresses, protocol: ProtocolVersion) -> Result<Road, Failure> {
        let mut info = addresses.nodes[0].clone();
        let settings = info.redis_settings().clone().set_protocol(protocol);
        info = info.set_redis_settings(settings);
        let client = match self.certificates() {
            Some(certificates) if is_tls(&info) => Client::build_with_tls(info, certificates)?,
            _ => Client::open(info)?,
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_millis(500));
        let connecting = ConnectionManager::new_with_config(client, config);
        let limit = self.connect_timeout * 3;
        let connected = tokio::time::timeout(limit, connecting).await.map_err(|_| Failure::Slow(limit))?;
        Ok(Road::Server(connected?))
    }

    async fn cluster(&self, addresses: &Addresses, protocol: ProtocolVersion) -> Result<Road, Failure> {
        let mut builder = ClusterClient::builder(addresses.nodes.clone())
            .use_protocol(protocol)
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(50)
            .max_retry_wait(500)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.response_timeout)
            .overall_response_timeout(Some(self.response_timeout));
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

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// Where to connect to.
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
