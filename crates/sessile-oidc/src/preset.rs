//! What differs from provider to provider, as data. Most providers need nothing but an issuer; what is here is what they do
//! in a way of their own.

use std::borrow::Cow;

/// A provider's ways. Give it to [`LoginFlowBuilder::preset`](crate::LoginFlowBuilder::preset).
///
/// | preset | issuer | its own way |
/// |---|---|---|
/// | [`COGNITO`](Preset::COGNITO) | `https://cognito-idp.REGION.amazonaws.com/POOL` | signs out at `/logout` with `logout_uri` |
/// | [`GOOGLE`](Preset::GOOGLE) | `https://accounts.google.com` | no sign-out at the provider |
/// | [`ENTRA`](Preset::ENTRA) | `https://login.microsoftonline.com/TENANT/v2.0` | the issuer is a tenant's, never `common` |
/// | [`KEYCLOAK`](Preset::KEYCLOAK) | `https://HOST/realms/REALM` | none |
/// | [`AUTH0`](Preset::AUTH0) | `https://TENANT.auth0.com/` | the slash at the end is part of the issuer |
/// | [`GITHUB`](Preset::GITHUB) | `https://github.com` | plain OAuth 2.0: who the user is, its API says |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preset {
    /// What it is called in settings.
    pub name: &'static str,
    /// How an issuer of this provider begins.
    pub issuer: &'static str,
    /// Parts of an issuer that stand for many, so that no token could be of it.
    pub not_an_issuer: &'static [&'static str],
    /// Its own form of a sign-out; `None` where it is the standard's.
    pub logout: Option<LogoutForm>,
    /// What takes the place of discovery and of ID tokens.
    pub plain: Option<PlainOauth>,
}

/// A sign-out in a provider's own form: a path beside its authorization endpoint, and the names of two parameters.
#[derive(Clone, Debug)]
pub struct LogoutForm {
    /// The path.
    pub path: &'static str,
    /// The parameter for the client's id.
    pub client_id: &'static str,
    /// The parameter for where the browser goes afterwards.
    pub back: &'static str,
}

/// A provider of OAuth 2.0 without OpenID Connect.
#[derive(Clone, Debug)]
pub struct PlainOauth {
    /// Where the user is asked.
    pub authorization_endpoint: Cow<'static, str>,
    /// Where a code becomes a token.
    pub token_endpoint: Cow<'static, str>,
    /// Where a token becomes a user: a document of the API.
    pub profile: Cow<'static, str>,
    /// The member of that document that names the user for good. Never a name that the user can change.
    pub subject: Cow<'static, str>,
}

impl Preset {
    /// Amazon Cognito.
    pub const COGNITO: Self = Self {
        name: "cognito",
        issuer: "https://cognito-idp.",
        not_an_issuer: &[],
        logout: Some(LogoutForm { path: "/logout", client_id: "client_id", back: "logout_uri" }),
        plain: None,
    };

    /// Google.
    pub const GOOGLE: Self = Self::standard("google", "https://accounts.google.com", &[]);

    /// Microsoft Entra.
    pub const ENTRA: Self = Self::standard(
        "entra",
        "https://login.microsoftonline.",
        &["/common/", "/organizations/", "/consumers/", "{tenantid}"],
    );

    /// Keycloak.
    pub const KEYCLOAK: Self = Self::standard("keycloak", "", &[]);

    /// Auth0.
    pub const AUTH0: Self = Self::standard("auth0", "https://", &[]);

    /// GitHub. A user's numeric `id` is the subject: names can be given up and taken by somebody else.
    pub const GITHUB: Self = Self {
        name: "github",
        issuer: "https://github.com",
        not_an_issuer: &[],
        logout: None,
        plain: Some(PlainOauth {
            authorization_endpoint: Cow::Borrowed("https://github.com/login/oauth/authorize"),
            token_endpoint: Cow::Borrowed("https://github.com/login/oauth/access_token"),
            profile: Cow::Borrowed("https://api.github.com/user"),
            subject: Cow::Borrowed("id"),
        }),
    };

    const fn standard(name: &'static str, issuer: &'static str, not_an_issuer: &'static [&'static str]) -> Self {
        Self { name, issuer, not_an_issuer, logout: None, plain: None }
    }

    /// The preset of this name: `cognito`, `google`, `entra`, `keycloak`, `auth0`, `github`.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::COGNITO, Self::GOOGLE, Self::ENTRA, Self::KEYCLOAK, Self::AUTH0, Self::GITHUB];
        all.into_iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
    }

    /// What is wrong with an issuer for this provider, in words.
    pub(crate) fn fault(&self, issuer: &str) -> Option<String> {
        let stands_for_many = self.not_an_issuer.iter().any(|part| issuer.contains(part));
        (!issuer.starts_with(self.issuer) || stands_for_many).then(|| {
            format!(
                "expected the issuer of a {} preset to begin with {:?} and to name one tenant, found {issuer:?}",
                self.name, self.issuer
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_knows_its_own_issuers() {
        let fits = [
            ("cognito", "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc", true),
            ("cognito", "https://example.auth.eu-central-1.amazoncognito.com", false),
            ("Google", "https://accounts.google.com", true),
            ("google", "accounts.google.com", false),
            ("entra", "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", true),
            ("entra", "https://login.microsoftonline.com/common/v2.0", false),
            ("keycloak", "http://localhost:8080/realms/test", true),
            ("auth0", "https://tenant.eu.auth0.com/", true),
            ("github", "https://github.com", true),
        ];
        for (name, issuer, expected) in fits {
            assert_eq!(Preset::named(name).unwrap().fault(issuer).is_none(), expected, "{name} {issuer}");
        }
        assert!(Preset::named("okta").is_none());
    }
}
