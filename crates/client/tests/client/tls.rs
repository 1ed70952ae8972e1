//! `wss://`: a server with a certificate of the test's own, valid for localhost for a century.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chatlane_client::socket::{self, OpenError, Socket};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{Server, TOKEN, answer_as_chatlane, device, passes_again, soon};

/// Where OpenSSL, and with it rustls-native-certs, looks for the certificates to be trusted.
const TRUSTED: &str = "SSL_CERT_FILE";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/tls").join(name)
}

/// Connects to a TLS server.
async fn connect() -> Result<Socket, OpenError> {
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(crypto).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/dev", listener.local_addr().unwrap().port());
    let serving = async {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate ends this.
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.ok()?;
        tokio_tungstenite::accept_hdr_async(stream, answer_as_chatlane).await.ok()
    };
    let both = async { tokio::join!(socket::open(&url, device(), TOKEN), serving) };
    let (opened, _served) = Box::pin(soon(both)).await;
    opened
}

#[test]
fn a_server_whose_certificate_is_trusted_is_talked_to_over_tls() {
    if std::env::var_os(TRUSTED).is_some_and(|trusted| Path::new(&trusted) == file("certificate.pem")) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { connect().await.unwrap() });
    } else {
        assert!(passes_again("tls::a_server_whose_certificate_is_trusted_is_talked_to_over_tls", TRUSTED, &file("certificate.pem")));
    }
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_gets_no_token() {
    let opened = connect().await;
    assert!(matches!(opened, Err(OpenError::Insecure { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_server_without_tls_gets_no_token_either() {
    let server = Server::start().await;
    let url = server.url.replace("ws://", "wss://");
    let (opened, ()) = tokio::join!(socket::open(&url, device(), TOKEN), server.answer_raw("HTTP/1.1 400 Bad Request\r\n\r\n"));
    assert!(matches!(opened, Err(OpenError::Insecure { .. })), "{opened:?}");
}
