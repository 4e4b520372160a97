//! What each `sslmode` means to a server with a certificate of its own authority, one without TLS, and one of another name.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sessile_postgres::PostgresStore;
use sessile_testkit::postgres::{Cluster, Database};

/// A certificate authority's certificate, and a server certificate and key that it issued for this host; all PEM.
pub(crate) fn certificates(host: &str) -> [String; 3] {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    [authority.pem(), certificate.pem(), key.serialize_pem()]
}

async fn connects(url: &str) -> Result<(), String> {
    let connected = PostgresStore::connect(url).await;
    connected.map(drop).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!("{source}: {:?}", source.source()));
        format!("{error} {}", source.unwrap_or_default())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_certificate_is_checked_when_the_mode_says_so() {
    let [authority, certificate, key] = certificates("127.0.0.1");
    let cluster = Cluster::start_with_tls(&certificate, &key);
    let administrator = cluster.superuser_client("postgres").await;
    let file = std::env::temp_dir().join(format!("sessile authority {}.pem", std::process::id()));
    std::fs::write(&file, authority).unwrap();
    let roots = file.display().to_string().replace(' ', "%20");
    let base = cluster.url("postgres").split('?').next().unwrap().to_owned();

    for mode in ["require", "verify-ca", "verify-full"] {
        let refused = connects(&format!("{base}?sslmode={mode}")).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{mode}: {refused}");
        connects(&format!("{base}?sslmode={mode}&sslrootcert={roots}")).await.unwrap();
        let other_name = base.replace("127.0.0.1", "localhost");
        let refused = connects(&format!("{other_name}?sslmode={mode}&sslrootcert={roots}")).await.unwrap_err();
        assert!(refused.contains("NotValidForName"), "{mode}: {refused}");
    }
    for url in [base.clone(), format!("{base}?sslmode=prefer"), format!("{base}?sslmode=no-verify")] {
        let store = PostgresStore::builder(&url).connect().await.unwrap();
        let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE application_name = 'sessile'";
        assert!(administrator.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0), "{url}");
        drop(store);
    }
    // With several hosts each certificate is compared with the host that it was found at.
    let at = |hosts: [&str; 2]| {
        let hosts = hosts.map(|host| format!("{host}:{}", cluster.port())).join(",");
        format!("postgres://postgres@{hosts}/postgres?sslmode=verify-full&sslrootcert={roots}")
    };
    connects(&at(["localhost", "127.0.0.1"])).await.unwrap();
    let refused = connects(&at(["localhost", "localhost"])).await.unwrap_err();
    assert!(refused.contains("NotValidForName"), "{refused}");
    connects(&format!("{base}?sslmode=disable")).await.unwrap();
    let wrong = connects(&format!("{base}?sslmode=verify-full&sslrootcert=/nowhere.pem")).await.unwrap_err();
    assert!(wrong.contains("/nowhere.pem"), "{wrong}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_the_mode_demands_it() {
    let database = Database::new().await;
    let base = database.url().split('?').next().unwrap();
    connects(base).await.unwrap();
    connects(&format!("{base}?sslmode=disable")).await.unwrap();
    for mode in ["no-verify", "require", "verify-full"] {
        let refused = connects(&format!("{base}?sslmode={mode}")).await.unwrap_err();
        assert!(refused.contains("TLS"), "{mode}: {refused}");
    }
}
