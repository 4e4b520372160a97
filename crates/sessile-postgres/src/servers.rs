//! The servers that a URL names: `postgres://app@db1,db2:5433/app`. With several of them one is the primary and the
//! others are standbys, and sessions are read and written on the primary only.

use sessile_core::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, TargetSessionAttrs};

/// Reads a URL. One with several servers asks for the primary, and none may ask for a standby.
pub(crate) fn parse(url: &str) -> Result<Config, Error> {
    let target = target(url);
    if target.is_some_and(|target| !["any", "read-write"].contains(&target)) {
        return Err(no_standby());
    }
    let mut config: Config = url.parse().map_err(|_| {
        Error::config(
            "expected a URL like postgres://user:password@host:5432/database, found something that is not one",
        )
    })?;
    // However it was spelled.
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
        return Err(no_standby());
    }
    if count(&config) > 1 {
        if target == Some("any") {
            return Err(no_standby());
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok(config)
}

/// Whether a server that takes no writes is refused.
pub(crate) fn demands_writes(config: &Config) -> bool {
    config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite
}

fn no_standby() -> Error {
    Error::config(
        "expected target_session_attrs to be read-write, found another one; sessions are read and written on the primary \
         only, because a standby may not know yet that one has ended: write read-write, or leave it out",
    )
}

/// What the URL says, in either of the forms that the driver reads.
fn target(url: &str) -> Option<&str> {
    url.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix("target_session_attrs="))
}

/// The settings for each of the servers, which are all settings but for hosts, addresses and ports. Those that do not
/// fit each other are left as they are, for the driver to refuse.
pub(crate) fn each(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = count(config);
    let fits = |len: usize| len == 0 || len == count;
    if count < 2 || !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        return vec![config.clone()];
    }
    let one = |index: usize| {
        let mut one = without_hosts(config);
        add_host(&mut one, hosts.get(index));
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    (0..count).map(one).collect()
}

fn count(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

fn add_host(config: &mut Config, host: Option<&Host>) {
    match host {
        Some(Host::Tcp(name)) => drop(config.host(name)),
        #[cfg(unix)]
        Some(Host::Unix(path)) => drop(config.host_path(path)),
        None => {}
    }
}

/// The driver's settings have no way to take a host out, so they are put together anew.
fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
    config.get_tcp_user_timeout().map(|timeout| one.tcp_user_timeout(*timeout));
    config.get_keepalives_interval().map(|interval| one.keepalives_interval(interval));
    config.get_keepalives_retries().map(|retries| one.keepalives_retries(retries));
    one.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
    one.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
    one.channel_binding(config.get_channel_binding()).load_balance_hosts(config.get_load_balance_hosts());
    one.target_session_attrs(config.get_target_session_attrs());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Vec<(Vec<Host>, Vec<u16>)> {
        let config = url.parse().unwrap();
        each(&config).iter().map(|one| (one.get_hosts().to_vec(), one.get_ports().to_vec())).collect()
    }

    #[test]
    fn each_server_of_a_url_has_its_own_port_or_the_common_one() {
        let tcp = |name: &str, port| (vec![Host::Tcp(name.into())], vec![port]);
        assert_eq!(servers("postgres://u:p@a:1,b:2/d"), [tcp("a", 1), tcp("b", 2)]);
        assert_eq!(servers("postgres://u:p@a,b/d"), [tcp("a", 5432), tcp("b", 5432)]);
        assert_eq!(servers("host=a,b port=7 user=u"), [tcp("a", 7), tcp("b", 7)]);
        assert_eq!(servers("postgres://u@a:1/d"), [tcp("a", 1)]);
    }

    #[test]
    fn each_server_gets_all_other_settings() {
        let text = "user=u password=p dbname=d options='-c a=b' application_name=n sslmode=require connect_timeout=3 \
            keepalives=0 keepalives_idle=7 keepalives_interval=8 keepalives_retries=9 tcp_user_timeout=4 \
            channel_binding=require target_session_attrs=read-write sslnegotiation=direct load_balance_hosts=random";
        let one: Config = format!("{text} host=a port=1").parse().unwrap();
        let several: Config = format!("{text} host=a,b port=1").parse().unwrap();
        assert_eq!(format!("{one:?}"), format!("{:?}", each(&several)[0]));
        assert_eq!(each(&several)[0].get_password(), Some(&b"p"[..]));
    }

    #[test]
    fn a_standby_cannot_be_asked_for() {
        let demands = |url: &str| parse(url).map(|config| demands_writes(&config)).map_err(|error| error.to_string());
        assert_eq!(demands("postgres://a/d"), Ok(false));
        assert_eq!(demands("postgres://a/d?target_session_attrs=any"), Ok(false));
        assert_eq!(demands("postgres://a/d?target_session_attrs=read-write"), Ok(true));
        assert_eq!(demands("postgres://a,b/d"), Ok(true));
        for wrong in ["any", "read-only", "prefer-standby", "standby"] {
            let refused = demands(&format!("postgres://a,b/d?connect_timeout=1&target_session_attrs={wrong}"));
            assert!(refused.unwrap_err().contains("read-write"), "{wrong}");
            assert!(demands(&format!("host=a,b target_session_attrs={wrong}")).is_err(), "{wrong}");
        }
        assert!(demands("postgres://a/d?target_session_attrs=read-only").is_err());
        assert!(demands("host=a target_session_attrs = read-only").is_err());
    }
}
