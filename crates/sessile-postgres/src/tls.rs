//! How a connection is encrypted, as the URL's `sslmode` says.
//!
//! | `sslmode` | encryption | the server's certificate |
//! |---|---|---|
//! | `disable` | none | – |
//! | absent, `prefer` | when the server offers it | not checked |
//! | `no-verify` | always | not checked |
//! | `require`, `verify-ca`, `verify-full` | always | checked: issuer and host name |
//!
//! Issuers are those of `sslrootcert=FILE` (PEM), or the public web's. As in node-postgres, `require` verifies: a check
//! that can be skipped by whoever stands between protects against nobody.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sessile_core::Error;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What the URL asks for, and that URL without the words the driver does not know.
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
    pub(crate) connector: MakeRustlsConnect,
    /// The server's certificate is checked.
    pub(crate) verifies: bool,
}

/// Takes `sslmode` and `sslrootcert` out of the URL's query.
pub(crate) fn split_url(url: &str) -> Result<(String, Tls), Error> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = ("prefer", None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = value,
            Some(("sslrootcert", path)) => roots = Some(path),
            _ => rest.push(pair),
        }
    }
    let (mode, verify) = match mode {
        "disable" => (SslMode::Disable, false),
        "prefer" | "allow" => (SslMode::Prefer, false),
        "no-verify" => (SslMode::Require, false),
        "require" | "verify-ca" | "verify-full" => (SslMode::Require, true),
        other => {
            return Err(Error::config(format!(
                "expected sslmode to be disable, prefer, no-verify, require, verify-ca or verify-full, found {other:?}"
            )));
        }
    };
    let config = client_config(if verify { Some(root_store(roots)?) } else { None })?;
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, Tls { mode, connector: MakeRustlsConnect::new(config), verifies: verify }))
}

fn root_store(path: Option<&str>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let Some(path) = path else {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(store);
    };
    let wrong = |what: &str| Error::config(format!("expected sslrootcert {path} to hold PEM certificates; {what}"));
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    for certificate in
        CertificateDer::pem_file_iter(&path).map_err(|error| wrong("it could not be read").with_source(error))?
    {
        let certificate = certificate.map_err(|error| wrong("it is not PEM").with_source(error))?;
        store.add(certificate).map_err(|error| wrong("one is not a certificate authority's").with_source(error))?;
    }
    if store.is_empty() { Err(wrong("there is none in it")) } else { Ok(store) }
}

fn client_config(roots: Option<RootCertStore>) -> Result<ClientConfig, Error> {
    let failed = |error: rustls::Error| Error::config("TLS could not be set up").with_source(error);
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(failed)?;
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        None => Arc::new(Unverified(provider)),
        Some(roots) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::config("the certificate authorities cannot be used").with_source(error))?,
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Accepts any certificate: encryption against eavesdroppers, where nothing better was asked for.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
