//! Which names the dashboard answers to. A page of a stranger can have a name that leads to this machine (DNS rebinding);
//! its requests then carry the stranger's name in `Host`, and are refused before anything looks at them. An address is no
//! name that somebody could lead astray, so addresses are fine.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::state::Dashboard;

const REFUSAL: &str = "Expected a request for an address, for localhost or for a name that the dashboard is configured with, \
                       found another name. Set ADMIN_HOST if it is yours.";

/// Refuses a request for another name (421).
pub(super) async fn check(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    if is_ours(&request, &dashboard.hosts) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::MISDIRECTED_REQUEST, REFUSAL).into_response()
}

/// The same for routes that stand beside the dashboard.
pub(super) async fn check_beside(State(hosts): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    if is_ours(&request, &hosts) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, [(CACHE_CONTROL, "no-store")], REFUSAL).into_response()
}

fn is_ours(request: &Request, names: &[String]) -> bool {
    let named = |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse().ok());
    let mut hosts: Vec<Option<Authority>> = request.headers().get_all(HOST).iter().map(named).collect();
    hosts.extend(request.uri().authority().cloned().map(Some));
    let is_known = |host: &Option<Authority>| host.as_ref().is_some_and(|host| is_known(host.host(), names));
    !hosts.is_empty() && hosts.iter().all(is_known)
}

fn is_known(host: &str, names: &[String]) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    address.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_configured_names_are_known() {
        let names = ["admin.example.com".to_owned()];
        for host in ["127.0.0.1", "[::1]", "10.1.2.3", "localhost", "LOCALHOST", "Admin.Example.com"] {
            assert!(is_known(host, &names), "{host}");
        }
        for host in ["evil.example", "admin.example.com.evil.example", "127.0.0.1.nip.io", "localhost.evil.example", ""]
        {
            assert!(!is_known(host, &names), "{host}");
        }
    }
}
