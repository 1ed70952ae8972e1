use std::collections::VecDeque;
use std::env;
use std::process::Command;
use std::sync::Mutex as StdMutex;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;

const MINUTE_MS: u64 = 60_000;
const AGES: KeyAges = KeyAges { fresh_ms: 10 * MINUTE_MS, usable_ms: 60 * MINUTE_MS };

/// The public key of RFC 7517, appendix A.1, under another name.
fn ec_key(kid: &str) -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

fn key_set(kids: &[&str]) -> KeySet {
    let document = json!({ "keys": kids.iter().map(|kid| ec_key(kid)).collect::<Vec<_>>() });
    KeySet::from_json(document.to_string().as_bytes()).unwrap()
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis::try_from(1_700_000_000_000 + ms).unwrap()
}

/// Answers each fetch with the next line of the script; a fetch beyond its end fails the test.
#[derive(Clone)]
struct Scripted {
    answers: Arc<StdMutex<VecDeque<Answer>>>,
}

enum Answer {
    Keys(&'static [&'static str]),
    Down,
    Never,
    After(Arc<Notify>, &'static [&'static str]),
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Arc::new(StdMutex::new(answers.into_iter().collect())) }
    }

    fn left(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

impl FetchKeys for Scripted {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let answer = self.answers.lock().unwrap().pop_front().expect("a fetch that the script does not foresee");
        match answer {
            Answer::Keys(kids) => Ok(key_set(kids)),
            Answer::Down => Err(FetchError::Status(503)),
            Answer::Never => std::future::pending().await,
            Answer::After(gate, kids) => {
                gate.notified().await;
                Ok(key_set(kids))
            }
        }
    }
}

fn cache(answers: impl IntoIterator<Item = Answer>) -> (KeyCache<Scripted>, Scripted) {
    let script = Scripted::new(answers);
    (KeyCache::new(script.clone(), AGES), script)
}

fn has(keys: &Result<Arc<KeySet>, KeysUnavailable>, kid: &str) -> bool {
    keys.as_ref().unwrap().has(kid)
}

#[tokio::test]
async fn a_fetched_set_serves_without_another_fetch_up_to_its_maximum_age() {
    let (cache, script) = cache([Answer::Keys(&["a"]), Answer::Keys(&["b"])]);
    assert!(has(&cache.keys_for(Some("a"), at(0)).await, "a"));
    assert!(has(&cache.keys_for(Some("a"), at(AGES.fresh_ms - 1)).await, "a"));
    assert!(has(&cache.keys_for(None, at(AGES.fresh_ms - 1)).await, "a"));
    assert_eq!(script.left(), 1);

    let refreshed = cache.keys_for(Some("a"), at(AGES.fresh_ms)).await;
    assert!(has(&refreshed, "b") && !has(&refreshed, "a"), "a withdrawn key ends with the maximum age");
}

#[tokio::test]
async fn an_unknown_kid_fetches_again_at_most_once_a_minute() {
    let (cache, script) = cache([Answer::Keys(&["a"]), Answer::Keys(&["a"]), Answer::Keys(&["a", "b"])]);
    assert!(has(&cache.keys_for(Some("b"), at(0)).await, "a"), "the first fetch is not repeated for the same call");
    assert!(has(&cache.keys_for(Some("b"), at(REFETCH_INTERVAL_MS - 1)).await, "a"));
    assert_eq!(script.left(), 2);

    assert!(!has(&cache.keys_for(Some("b"), at(REFETCH_INTERVAL_MS)).await, "b"));
    for ms in [REFETCH_INTERVAL_MS, 2 * REFETCH_INTERVAL_MS - 1] {
        assert!(!has(&cache.keys_for(Some("forged"), at(ms)).await, "forged"));
    }
    assert_eq!(script.left(), 1);

    assert!(has(&cache.keys_for(Some("b"), at(2 * REFETCH_INTERVAL_MS)).await, "b"));
}

#[tokio::test]
async fn an_unreachable_issuer_and_nothing_cached_refuses_and_is_asked_again_after_a_second() {
    let (cache, script) = cache([Answer::Down, Answer::Keys(&["a"])]);
    let refused = cache.keys_for(Some("a"), at(0)).await.unwrap_err();
    assert!(matches!(refused, KeysUnavailable::Fetch(FetchError::Status(503))));
    assert_eq!(refused.to_string(), "no usable keys are cached and fetching them failed");

    let refused = cache.keys_for(Some("a"), at(EMPTY_RETRY_INTERVAL_MS - 1)).await.unwrap_err();
    assert!(matches!(refused, KeysUnavailable::JustFailed));
    assert_eq!(script.left(), 1);

    assert!(has(&cache.keys_for(Some("a"), at(EMPTY_RETRY_INTERVAL_MS)).await, "a"));
}

#[tokio::test]
async fn cached_keys_outlast_an_outage_up_to_the_hard_limit() {
    let (cache, script) = cache([Answer::Keys(&["a"]), Answer::Down, Answer::Down, Answer::Down, Answer::Keys(&["a"])]);
    assert!(has(&cache.keys_for(Some("a"), at(0)).await, "a"));

    assert!(has(&cache.keys_for(Some("a"), at(AGES.fresh_ms)).await, "a"));
    assert!(has(&cache.keys_for(Some("a"), at(AGES.fresh_ms + REFETCH_INTERVAL_MS - 1)).await, "a"));
    assert_eq!(script.left(), 3, "an issuer that is down is asked once a minute");

    assert!(has(&cache.keys_for(Some("a"), at(AGES.usable_ms - 1)).await, "a"));
    assert_eq!(script.left(), 2);

    let just_failed = cache.keys_for(Some("a"), at(AGES.usable_ms)).await;
    assert!(matches!(just_failed, Err(KeysUnavailable::JustFailed)));
    let failed = cache.keys_for(Some("a"), at(AGES.usable_ms + EMPTY_RETRY_INTERVAL_MS)).await;
    assert!(matches!(failed, Err(KeysUnavailable::Fetch(_))));

    assert!(has(&cache.keys_for(Some("a"), at(AGES.usable_ms + 2 * EMPTY_RETRY_INTERVAL_MS)).await, "a"));
}

#[tokio::test]
async fn a_failed_fetch_for_an_unknown_kid_keeps_the_cached_keys() {
    let (cache, script) = cache([Answer::Keys(&["a"]), Answer::Down]);
    assert!(has(&cache.keys_for(Some("a"), at(0)).await, "a"));
    assert!(has(&cache.keys_for(Some("b"), at(REFETCH_INTERVAL_MS)).await, "a"));
    assert_eq!(script.left(), 0);
}

#[tokio::test]
async fn a_clock_that_steps_back_does_not_keep_keys_for_longer() {
    let (cache, _) = cache([Answer::Keys(&["a"]), Answer::Keys(&["b"])]);
    assert!(has(&cache.keys_for(Some("a"), at(AGES.fresh_ms)).await, "a"));
    assert!(has(&cache.keys_for(Some("a"), at(0)).await, "b"));
}

#[tokio::test]
async fn concurrent_callers_share_one_fetch() {
    let gate = Arc::new(Notify::new());
    let (cache, script) = cache([Answer::After(Arc::clone(&gate), &["a"])]);
    let (first, second, ()) = tokio::join!(cache.keys_for(Some("a"), at(0)), cache.keys_for(Some("a"), at(0)), async { gate.notify_one() });
    assert!(has(&first, "a") && has(&second, "a"));
    assert_eq!(script.left(), 0);
}

#[tokio::test]
async fn a_fetch_that_was_cut_off_counts_as_an_attempt() {
    let (cache, script) = cache([Answer::Never, Answer::Keys(&["a"])]);
    tokio::select! {
        biased;
        _ = cache.keys_for(Some("a"), at(0)) => unreachable!("this fetch never ends"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(cache.keys_for(Some("a"), at(1)).await, Err(KeysUnavailable::JustFailed)));
    assert_eq!(script.left(), 1);
    assert!(has(&cache.keys_for(Some("a"), at(EMPTY_RETRY_INTERVAL_MS)).await, "a"));
}

#[test]
fn a_key_set_keeps_only_keys_for_es256_and_rs256_signatures() {
    let with = |change: fn(&mut Value)| {
        let mut key = ec_key("other");
        change(&mut key);
        key
    };
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB" });
    let left_out = [
        with(|key| key["alg"] = json!("ES384")),
        with(|key| key["alg"] = json!("HS256")),
        with(|key| key["use"] = json!("enc")),
        with(|key| key["key_ops"] = json!(["encrypt"])),
        with(|key| key["crv"] = json!("P-384")),
        with(|key| key["crv"] = json!("secp256k1")),
        with(|key| key["x"] = json!("not base64url!")),
        with(|key| key["kid"] = json!(7)),
        json!({ "kty": "oct", "kid": "other", "k": "AQAB", "alg": "HS256" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "other", "x": "AQAB" }),
        json!({ "kty": "AKP", "kid": "other" }),
        json!({ "kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB", "alg": "PS256" }),
        json!("not a key"),
    ];
    for key in left_out {
        let alone = json!({ "keys": [key] }).to_string();
        assert_eq!(KeySet::from_json(alone.as_bytes()).unwrap_err(), KeySetError::NoUsableKey, "{alone}");
        let beside = json!({ "keys": [key, ec_key("ec"), rsa] }).to_string();
        let keys = KeySet::from_json(beside.as_bytes()).unwrap();
        assert!(!keys.has("other"), "{beside}");
        for (algorithm, kid) in [(SigningAlgorithm::Es256, "ec"), (SigningAlgorithm::Rs256, "rsa")] {
            assert!(keys.for_algorithm(algorithm).map(VerificationKey::kid).eq([Some(kid)]), "{beside}");
        }
    }
}

#[test]
fn a_key_without_declarations_is_for_the_algorithm_of_its_type() {
    let mut key = ec_key("a");
    for name in ["alg", "use", "kid"] {
        key.as_object_mut().unwrap().remove(name);
    }
    key["key_ops"] = json!(["verify"]);
    let keys = KeySet::from_json(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    assert_eq!(keys.for_algorithm(SigningAlgorithm::Es256).count(), 1);
    assert_eq!(keys.for_algorithm(SigningAlgorithm::Rs256).count(), 0);
}

#[test]
fn a_document_that_is_no_key_set_is_refused() {
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>", "{\"keys\":["] {
        assert_eq!(KeySet::from_json(bad.as_bytes()).unwrap_err(), KeySetError::NotAKeySet, "{bad}");
    }
    assert_eq!(KeySet::from_json(br#"{"keys":[]}"#).unwrap_err(), KeySetError::NoUsableKey);
    let padded = |bytes: usize| {
        let document = json!({ "keys": [ec_key("a")] }).to_string();
        let padding = " ".repeat(bytes - document.len());
        document + &padding
    };
    assert!(KeySet::from_json(padded(JWKS_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(KeySet::from_json(padded(JWKS_BYTES_MAX + 1).as_bytes()).unwrap_err(), KeySetError::TooLarge);
}

#[tokio::test]
async fn an_inline_set_is_always_the_answer() {
    let setting = format!(" {}\n", json!({ "keys": [ec_key("a")] }));
    let source = KeySource::from_setting(&setting, AGES).unwrap();
    assert!(has(&source.keys_for(Some("b"), at(0)).await, "a"));
    assert!(has(&source.keys_for(None, at(10 * AGES.usable_ms)).await, "a"));
}

#[test]
fn a_setting_names_a_key_set_or_a_url_that_nobody_on_the_way_can_answer() {
    let source = |setting: &str| KeySource::from_setting(setting, KeyAges::default());
    for good in ["https://issuer.example/jwks.json", "http://127.0.0.1:7070/jwks", "http://[::1]:7070/jwks", "http://localhost/jwks"] {
        assert!(matches!(source(good), Ok(KeySource::Cached(_))), "{good}");
    }
    for bad in ["http://issuer.example/jwks.json", "http://localhost.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/jwks"]
    {
        assert!(matches!(source(bad), Err(KeySourceError::NotHttps)), "{bad}");
    }
    for bad in ["", "jwks.json", "https://"] {
        assert!(matches!(source(bad), Err(KeySourceError::NotAUrl)), "{bad}");
    }
    assert!(matches!(source("{}"), Err(KeySourceError::Inline(KeySetError::NotAKeySet))));
}

#[test]
fn a_machine_without_root_certificates_has_no_https_source() {
    const CHILD: &str = "CHATLANE_TEST_WITHOUT_ROOTS";
    if env::var_os(CHILD).is_some() {
        assert!(matches!(JwksUrl::new("https://issuer.example/jwks.json"), Err(KeySourceError::Client(_))));
        assert!(JwksUrl::new("http://127.0.0.1/jwks.json").is_ok(), "the local runner needs none");
        return;
    }
    // The place of the certificates is read from the environment, which only a process of its own can have changed safely.
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "handshake::authorize::jwks::tests::a_machine_without_root_certificates_has_no_https_source", "--nocapture"])
        .env(CHILD, "1")
        .env("SSL_CERT_FILE", "/nonexistent/file")
        .env("SSL_CERT_DIR", "/nonexistent/directory")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// A server on this machine that answers one request with these bytes and closes; `None`: never answers.
async fn serving(answer: Option<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut request).await.unwrap(), 0, "the client went away within its request");
        }
        match answer {
            // The client may have had enough before the end.
            Some(answer) => drop(socket.write_all(&answer).await),
            None => std::future::pending().await,
        }
    });
    url
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn the_issuers_answer_becomes_a_key_set() {
    let body = json!({ "keys": [ec_key("a")] }).to_string();
    let url = serving(Some(http("200 OK", &format!("Content-Length: {}\r\n", body.len()), &body))).await;
    let source = KeySource::from_setting(&url, AGES).unwrap();
    assert!(has(&source.keys_for(Some("a"), at(0)).await, "a"));
    assert!(has(&source.keys_for(Some("a"), at(1)).await, "a"), "the server is gone: this one is cached");
}

#[tokio::test]
async fn an_answer_that_is_not_a_key_set_is_an_error_of_its_kind() {
    let fetch = async |answer| JwksUrl::new(&serving(Some(answer)).await).unwrap().fetch().await.unwrap_err();

    assert!(matches!(fetch(http("500 Oops", "", "")).await, FetchError::Status(500)));
    let moved = http("302 Found", "Location: http://127.0.0.1:9/\r\n", "");
    assert!(matches!(fetch(moved).await, FetchError::Status(302)));
    assert!(matches!(fetch(http("200 OK", "", "<html>")).await, FetchError::KeySet(KeySetError::NotAKeySet)));
    // Refused at the first byte too many; reading on would meet the end of the connection instead.
    let too_large = http("200 OK", "Content-Length: 1000000\r\n", &" ".repeat(JWKS_BYTES_MAX + 1));
    assert!(matches!(fetch(too_large).await, FetchError::KeySet(KeySetError::TooLarge)));
    let cut_off = http("200 OK", "Content-Length: 100\r\n", "{\"keys\":");
    assert!(matches!(fetch(cut_off).await, FetchError::Unreachable(_)));
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_or_never_answers_is_unreachable_and_its_address_is_not_told() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/secret-path", listener.local_addr().unwrap())
    };
    let refused = JwksUrl::new(&nobody).unwrap().fetch().await.unwrap_err();
    let silent = serving(None).await;
    let timed_out = JwksUrl::with_timeout(&silent, Duration::from_millis(50)).unwrap().fetch().await.unwrap_err();

    for error in [&refused, &timed_out] {
        assert!(matches!(error, FetchError::Unreachable(_)));
        assert!(!format!("{error} {error:?} {}", error.source().unwrap()).contains("secret-path"));
    }
    let FetchError::Unreachable(timed_out) = timed_out else { unreachable!("asserted above") };
    assert!(timed_out.is_timeout());
}
