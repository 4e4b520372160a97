//! The provider as this server knows it: its metadata and its keys, fetched when they are needed first and kept for an hour;
//! and what can be said about a token with them.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::claims::Claims;
use crate::http::{Http, may_ask};
use crate::jwks::Jwks;
use crate::jws::{Algorithm, Jws};
use crate::settings::{Endpoints, Settings};
use crate::tame::tame;
use crate::{LoginError, cache::Cache};

/// What the provider says of itself (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 9207), as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    jwks_uri: Option<Url>,
    pub(crate) end_session_endpoint: Option<Url>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

/// How a client shows the token endpoint who it is (OpenID Connect Core 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    Post,
    /// It has no secret.
    None,
}

/// Which kind of token is read. None is taken for another (RFC 8725 section 3.11).
#[derive(Clone, Copy)]
pub(crate) enum TokenKind {
    Id,
    Logout,
}

pub(crate) struct Provider {
    pub(crate) http: Http,
    settings: Arc<Settings>,
    metadata: Cache<Metadata>,
    keys: Cache<Jwks>,
}

impl Provider {
    pub(crate) fn new(http: Http, settings: Arc<Settings>) -> Self {
        Self { http, settings, metadata: Cache::default(), keys: Cache::default() }
    }

    /// What the provider says of itself. Of a plain OAuth 2.0 provider it is what the settings say.
    pub(crate) async fn metadata(&self, now: SystemTime) -> Result<Arc<Metadata>, LoginError> {
        if let Some(endpoints) = &self.settings.endpoints {
            return Ok(Arc::new(Metadata::fixed(&self.settings.issuer, endpoints)));
        }
        let (http, settings) = (self.http.clone(), self.settings.clone());
        let fetch = async move {
            Metadata::parse(http.document("the provider's metadata", &settings.discovery_url()).await?, &settings)
        };
        self.in_time(self.metadata.get(now, |_| true, fetch)).await
    }

    async fn keys(&self, now: SystemTime, jws: &Jws<'_>, algorithm: Algorithm) -> Result<Arc<Jwks>, LoginError> {
        let metadata = self.metadata(now).await?;
        let url = metadata.jwks_uri.clone().ok_or_else(|| LoginError::provider("the provider names no key set"))?;
        let http = self.http.clone();
        let fetch = async move { Jwks::parse(&http.document("the provider's keys", &url).await?) };
        self.in_time(self.keys.get(now, |keys| keys.serves(&jws.header, algorithm), fetch)).await
    }

    /// Those who wait for others to fetch do not add up their waits.
    async fn in_time<T>(&self, getting: impl Future<Output = Result<T, LoginError>>) -> Result<T, LoginError> {
        let limit = self.settings.limits.time * 2;
        let late =
            || LoginError::unreachable(format!("expected the provider to answer within {limit:?}, found no answer"));
        tokio::time::timeout(limit, getting).await.unwrap_or_else(|_| Err(late()))
    }

    /// The claims of a token that the provider signed, and how: of the right kind, with an agreed algorithm, by a key of its
    /// key set.
    pub(crate) async fn verified(
        &self,
        kind: TokenKind,
        token: &str,
        now: SystemTime,
    ) -> Result<(Claims, Algorithm), LoginError> {
        let jws = Jws::parse(token)?;
        kind.check(jws.header.typ.as_deref())?;
        let algorithm = jws.algorithm(&self.algorithms(now).await?)?;
        let keys = self.keys(now, &jws, algorithm).await?;
        let claims = Claims::from(jws.verified(algorithm, &keys.candidates(&jws.header, algorithm)?)?);
        claims.check_issuer(&self.settings.issuer)?;
        claims.check_audience(&self.settings.client_id)?;
        Ok((claims, algorithm))
    }

    /// What was agreed on: the settings say, or the provider's metadata, or it is RS256 (OpenID Connect Core 3.1.3.7, step 7).
    async fn algorithms(&self, now: SystemTime) -> Result<Vec<Algorithm>, LoginError> {
        if let Some(algorithms) = &self.settings.algorithms {
            return Ok(algorithms.clone());
        }
        let names = &self.metadata(now).await?.id_token_signing_alg_values_supported;
        if names.is_empty() {
            return Ok(vec![Algorithm::Rs256]);
        }
        Ok(names.iter().filter_map(|name| Algorithm::parse(name)).collect())
    }
}

impl TokenKind {
    fn check(self, typ: Option<&str>) -> Result<(), LoginError> {
        let lower = typ.unwrap_or_default().to_ascii_lowercase();
        let typ = lower.strip_prefix("application/").unwrap_or(&lower);
        let (fits, expected) = match self {
            // Whatever is explicitly typed is something else: at+jwt, logout+jwt, secevent+jwt, …
            Self::Id => (!typ.ends_with("+jwt"), "an ID token"),
            Self::Logout => (typ == "logout+jwt", "a logout token, logout+jwt"),
        };
        let found = || LoginError::token("typ", format!("expected {expected}, found the type {:?}", tame(typ)));
        if fits { Ok(()) } else { Err(found()) }
    }
}

impl Metadata {
    fn parse(document: Value, settings: &Settings) -> Result<Self, LoginError> {
        let metadata: Self = serde_json::from_value(document).map_err(|error| {
            let why = tame(&error.to_string());
            LoginError::provider(format!("expected the provider's metadata to be those of OpenID Connect; {why}"))
        })?;
        metadata.check_issuer(&settings.issuer)?;
        metadata.check_endpoints(settings)?;
        metadata.check_pkce(settings.require_s256)?;
        Ok(metadata)
    }

    fn fixed(issuer: &str, endpoints: &Endpoints) -> Self {
        Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: endpoints.authorization.clone(),
            token_endpoint: endpoints.token.clone(),
            jwks_uri: None,
            end_session_endpoint: None,
            id_token_signing_alg_values_supported: Vec::new(),
            token_endpoint_auth_methods_supported: None,
            code_challenge_methods_supported: None,
            authorization_response_iss_parameter_supported: false,
        }
    }

    /// Letter by letter: whoever could answer here for another issuer could answer with keys of their own.
    fn check_issuer(&self, issuer: &str) -> Result<(), LoginError> {
        if self.issuer == issuer {
            return Ok(());
        }
        let found = tame(&self.issuer);
        Err(LoginError::issuer(format!("expected metadata of the issuer {issuer:?}, found those of {found:?}")))
    }

    fn check_endpoints(&self, settings: &Settings) -> Result<(), LoginError> {
        let endpoints = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", self.jwks_uri.as_ref()),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ];
        for (name, url) in endpoints.into_iter().filter_map(|(name, url)| Some((name, url?))) {
            if !may_ask(url, &settings.issuer_url) {
                let found = tame(url.as_str());
                return Err(LoginError::provider(format!(
                    "expected the provider's {name} to be an https URL, found {found}"
                )));
            }
        }
        Ok(())
    }

    /// PKCE is used whatever is said here.
    fn check_pkce(&self, require_s256: bool) -> Result<(), LoginError> {
        if self.code_challenge_methods_supported.as_ref().is_none_or(|methods| methods.iter().any(|m| m == "S256")) {
            return Ok(());
        }
        if require_s256 {
            return Err(LoginError::provider(
                "expected the provider to announce PKCE with S256, found other methods alone; it is required by the settings",
            ));
        }
        tracing::warn!(
            issuer = self.issuer,
            "the provider does not announce PKCE with S256; a stolen code is then worth more"
        );
        Ok(())
    }

    /// RFC 6749 section 2.3.1: every provider that knows secrets takes them in the Authorization header, unless it says that
    /// it takes them in the form alone.
    pub(crate) fn client_auth(&self, has_secret: bool) -> Result<ClientAuth, LoginError> {
        let takes = |name: &str| self.token_endpoint_auth_methods_supported.iter().flatten().any(|own| own == name);
        match &self.token_endpoint_auth_methods_supported {
            _ if !has_secret => Ok(ClientAuth::None),
            None => Ok(ClientAuth::Basic),
            Some(_) if takes("client_secret_basic") => Ok(ClientAuth::Basic),
            Some(_) if takes("client_secret_post") => Ok(ClientAuth::Post),
            Some(_) => Err(LoginError::provider(
                "expected the token endpoint to take a client secret, found that it announces neither client_secret_basic \
                 nor client_secret_post",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_one_kind_is_not_taken_for_another() {
        let kinds = [
            (None, true, false),
            (Some("JWT"), true, false),
            (Some("jwt"), true, false),
            (Some("at+jwt"), false, false),
            (Some("application/at+JWT"), false, false),
            (Some("secevent+jwt"), false, false),
            (Some("logout+jwt"), false, true),
            (Some("Application/Logout+JWT"), false, true),
        ];
        for (typ, id, logout) in kinds {
            assert_eq!(TokenKind::Id.check(typ).is_ok(), id, "{typ:?}");
            assert_eq!(TokenKind::Logout.check(typ).is_ok(), logout, "{typ:?}");
        }
    }

    #[test]
    fn a_secret_goes_where_the_provider_takes_it() {
        let endpoint = Url::parse("https://id.example/x").unwrap();
        let endpoints = Endpoints { authorization: endpoint.clone(), token: endpoint };
        let cases = [
            (None, true, Some(ClientAuth::Basic)),
            (Some(vec!["client_secret_post", "client_secret_basic"]), true, Some(ClientAuth::Basic)),
            (Some(vec!["client_secret_post"]), true, Some(ClientAuth::Post)),
            (Some(vec!["private_key_jwt"]), true, None),
            (Some(vec!["private_key_jwt"]), false, Some(ClientAuth::None)),
        ];
        for (announced, has_secret, expected) in cases {
            let token_endpoint_auth_methods_supported =
                announced.clone().map(|names| names.into_iter().map(str::to_owned).collect());
            let metadata = Metadata { token_endpoint_auth_methods_supported, ..Metadata::fixed("i", &endpoints) };
            assert_eq!(metadata.client_auth(has_secret).ok(), expected, "{announced:?}");
        }
    }
}
