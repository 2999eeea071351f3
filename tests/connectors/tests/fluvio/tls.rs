//! Connections that are encrypted, with certificates of both sides or of the cluster's alone.

use crate::mistakes::open;
use crate::peers::{Simulated, TOPIC, source_settings};
use chalk_connect::fluvio::{Access, SourceSettings, Tls};
use chalk_connector_tests::fluvio_peer::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What the cluster's certificate is for.
const DOMAIN: &str = "school.example";

/// Somebody who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn sign(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Signed {
        let mut params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("names");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        Signed { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    /// A cluster that this authority vouches for; with its clients, it asks for certificates.
    fn cluster(&self, clients: Option<&Self>) -> Cluster {
        // Clients ask an SPU for one of `custom-spu-5001.school.example`.
        let names = [DOMAIN, &format!("*.{DOMAIN}")];
        let Signed { certificate, key } = self.sign(&names, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.expect("versions");
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(Self(clients)) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from(clients.der().to_vec())).expect("a certificate");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().expect("roots"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("a key of the certificate");
        let cluster = Cluster::start_encrypted(Arc::new(config)).expect("ports");
        cluster.create_topic(TOPIC, 2);
        cluster
    }
}

/// The files that a client names: who vouches for the cluster, and its own certificate and key.
struct Files(TempDir);

impl Files {
    fn new(cluster: &Authority, client: &Signed) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            ("ca.pem", cluster.0.pem()),
            ("client.pem", client.certificate.pem()),
            ("client.key", client.key.serialize_pem()),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        Self(folder)
    }

    fn tls(&self, domain: &str) -> Tls {
        let path = |name: &str| -> PathBuf { self.0.path().join(name) };
        Tls::Verified {
            domain: domain.to_owned(),
            ca_cert: path("ca.pem"),
            cert: path("client.pem"),
            key: path("client.key"),
        }
    }
}

/// Why a client cannot begin.
fn refused(cluster: &Cluster, tls: Tls) -> String {
    let access = Access::Endpoint { endpoint: cluster.endpoint().to_owned(), tls };
    open(SourceSettings { access, ..source_settings("", TOPIC) }).to_string()
}

#[test]
fn certificates_of_both_sides_are_verified() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::new(&authority, &clients.sign(&["pupil"], ExtendedKeyUsagePurpose::ClientAuth));
    let make = || Simulated { cluster: authority.cluster(Some(&clients)), tls: files.tls(DOMAIN) };
    chalk_connector_tests::sources::check_source(make);
    chalk_connector_tests::sources::check_server(make);
    chalk_connector_tests::sinks::check_sink(make);
}

#[test]
fn anonymous_believes_whoever_answers() {
    let authority = Authority::new();
    let make = || Simulated { cluster: authority.cluster(None), tls: Tls::Anonymous };
    chalk_connector_tests::sources::check_source(make);
    chalk_connector_tests::sinks::check_sink(make);
}

#[test]
fn a_cluster_that_nobody_vouches_for_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = other.sign(&["pupil"], ExtendedKeyUsagePurpose::ClientAuth);
    let cluster = authority.cluster(None);
    let error = refused(&cluster, Files::new(&other, &client).tls(DOMAIN));
    assert!(error.contains("invalid peer certificate"), "{error}");
    let error = refused(&cluster, Files::new(&authority, &client).tls("another.example"));
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn a_client_that_nobody_vouches_for_is_refused() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let stranger = authority.sign(&["stranger"], ExtendedKeyUsagePurpose::ClientAuth);
    let cluster = authority.cluster(Some(&clients));
    let error = refused(&cluster, Files::new(&authority, &stranger).tls(DOMAIN));
    assert!(error.contains("received fatal alert"), "{error}");
    let error = refused(&cluster, Tls::Disabled);
    assert!(error.contains("With TLS, are both sides of one mind?"), "{error}");
}
