//! A server that is reached with TLS: its certificate has to lead to the one that is named.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sessile_redis::RedisStore;
use sessile_testkit::http::free_port;
use sessile_testkit::redis::Server;

use crate::sessions::{alive, sign_in};

#[tokio::test]
async fn a_certificate_is_checked_against_the_one_that_is_named() {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let directory = std::env::temp_dir().join(format!("sessile-redis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("certificate", certificate.pem()), file("key", key.serialize_pem()));
    let port = free_port();
    let settings = [
        ("tls-port", &*port.to_string()),
        ("tls-cert-file", &certificate),
        ("tls-key-file", &key),
        ("tls-auth-clients", "no"),
        ("tls-ca-cert-file", &certificate),
    ];
    let _server = Server::start_with(&settings);
    let url = format!("rediss://127.0.0.1:{port}");

    let refused = RedisStore::connect(&url).await.unwrap_err();
    assert!(refused.is_unavailable(), "{refused:?}");
    let store = RedisStore::builder(&url).root_certificate(authority.pem()).connect().await.unwrap();
    sign_in(&store, "a", "alice", 1).await;
    assert!(alive(&store, "a").await);
    let other_name = RedisStore::builder(url.replace("127.0.0.1", "localhost")).root_certificate(authority.pem());
    assert!(other_name.connect().await.is_err(), "the certificate is for another name");
    std::fs::remove_dir_all(directory).unwrap();
}
