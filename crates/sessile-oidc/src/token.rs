//! The token endpoint: a code becomes tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::form_urlencoded;

use crate::error::AT_TOKEN_ENDPOINT;
use crate::http::{Answer, Ask};
use crate::provider::{ClientAuth, Metadata, Provider};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::{LoginError, pending::Pending};

const WHAT: &str = "tokens";

/// What the code was worth.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access_token: Option<Secret>,
    pub(crate) id_token: Option<Secret>,
}

impl Provider {
    /// Exchanges the code. The verifier goes along always, whatever the provider says of PKCE.
    pub(crate) async fn exchange(
        &self,
        settings: &Settings,
        metadata: &Metadata,
        code: &str,
        pending: &Pending,
    ) -> Result<Tokens, LoginError> {
        let auth = metadata.client_auth(settings.client_secret.is_some())?;
        let (authorization, form) = request(settings, auth, code, pending);
        let url = &metadata.token_endpoint;
        let answer = self.http.send(Ask { url, what: WHAT, authorization, form: Some(form) }).await?;
        tokens(&answer, metadata)
    }
}

/// The header and the form.
fn request(settings: &Settings, auth: ClientAuth, code: &str, pending: &Pending) -> (Option<String>, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", settings.redirect_url.as_str())
        .append_pair("code_verifier", pending.verifier.expose());
    match (auth, &settings.client_secret) {
        (ClientAuth::Basic, Some(secret)) => return (Some(basic(&settings.client_id, secret)), form.finish()),
        (ClientAuth::Post, Some(secret)) => drop(form.append_pair("client_secret", secret.expose())),
        _ => {}
    }
    (None, form.append_pair("client_id", &settings.client_id).finish())
}

/// RFC 6749 section 2.3.1: each part is encoded as in a form before the two are put together.
fn basic(client_id: &str, secret: &Secret) -> String {
    let [id, secret] =
        [client_id, secret.expose()].map(|part| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>());
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn tokens(answer: &Answer, metadata: &Metadata) -> Result<Tokens, LoginError> {
    let url = &metadata.token_endpoint;
    // Some say no with a status that says yes.
    if matches!(answer.status, 200 | 400..=499)
        && let Ok(document) = answer.json(WHAT, url)
        && let Some(error) = document["error"].as_str()
    {
        return Err(LoginError::denied(AT_TOKEN_ENDPOINT, error, document["error_description"].as_str()));
    }
    let document = answer.document(WHAT, url)?;
    let token = |name: &str| match &document[name] {
        Value::String(text) if !text.is_empty() => Some(Secret::new(text.as_str())),
        _ => None,
    };
    Ok(Tokens { access_token: token("access_token"), id_token: token("id_token") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_header_is_encoded_first() {
        let header = basic("a:b c", &Secret::new("p%&+ü"));
        let decoded = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), "a%3Ab+c:p%25%26%2B%C3%BC");
    }
}
