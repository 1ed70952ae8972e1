//! `protocol ← chat ← aws ← functions ← local`; `protocol ← session ← client ← terminal ← local`; the tests may use anything, nothing
//! uses the tests or `local`.
//!
//! The lists are exact: a dependency more or less is a decision, and this is where it is seen.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use chatlane_tests_workspace::root;

/// What each package may use outside its tests. `protocol`, `chat` and `session` are pure: no runtime, no AWS, no entropy, `session` no
/// input or output at all; only `aws` has an AWS SDK; `anyhow` is for `local` and the tests.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("chatlane-protocol", &["base64", "serde", "serde_json", "serde_path_to_error", "thiserror", "uuid"]),
    ("chatlane-chat", &["base64", "chatlane-protocol", "futures-util", "hmac", "serde", "serde_json", "sha2", "thiserror", "tracing"]),
    (
        "chatlane-aws",
        &[
            "aws-config",
            "aws-sdk-apigatewaymanagement",
            "aws-sdk-dynamodb",
            "aws-sdk-sqs",
            "base64",
            "chatlane-chat",
            "chatlane-protocol",
            "percent-encoding",
            "serde_json",
            "tokio",
            "tracing",
        ],
    ),
    (
        "chatlane-functions",
        &[
            "aws_lambda_events",
            "base64",
            "chatlane-aws",
            "chatlane-chat",
            "chatlane-protocol",
            "flate2",
            "futures-util",
            "getrandom",
            "jsonwebtoken",
            "lambda_runtime",
            "reqwest",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tracing",
            "tracing-subscriber",
        ],
    ),
    ("chatlane-session", &["chatlane-protocol", "serde", "serde_json"]),
    (
        "chatlane-client",
        &[
            "chatlane-protocol",
            "chatlane-session",
            "futures-util",
            "rusqlite",
            "rustls",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio-tungstenite",
            "uuid",
        ],
    ),
    (
        "chatlane-terminal",
        &["chatlane-client", "chatlane-protocol", "chatlane-session", "nix", "rustyline", "thiserror", "tokio", "unicode-segmentation"],
    ),
    (
        "chatlane-local",
        &[
            "anyhow",
            "aws-lc-rs",
            "axum",
            "base64",
            "chatlane-aws",
            "chatlane-chat",
            "chatlane-client",
            "chatlane-functions",
            "chatlane-protocol",
            "chatlane-terminal",
            "clap",
            "dynoxide-rs",
            "futures-util",
            "http-body-util",
            "hyper",
            "hyper-util",
            "jsonwebtoken",
            "md5",
            "percent-encoding",
            "rand",
            "rusqlite",
            "serde",
            "serde_json",
            "thiserror",
            "time",
            "tokio",
            "tokio-tungstenite",
            "tracing",
            "tracing-subscriber",
            "uuid",
        ],
    ),
];

fn packages() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    let metadata = command.current_dir(root()).no_deps().exec().expect("cargo metadata answers");
    metadata.packages
}

fn names(package: &Package, kinds: &[DependencyKind]) -> BTreeSet<String> {
    let of_kinds = package.dependencies.iter().filter(|dependency| kinds.contains(&dependency.kind));
    of_kinds.map(|dependency| dependency.name.clone()).collect()
}

fn allowed(package: &str) -> Option<BTreeSet<String>> {
    let (_, list) = ALLOWED.iter().find(|(name, _)| *name == package)?;
    Some(list.iter().map(ToString::to_string).collect())
}

fn is_tests(package: &str) -> bool {
    package.starts_with("chatlane-tests-")
}

#[test]
fn each_package_uses_exactly_what_it_may() {
    for package in packages() {
        let used = names(&package, &[DependencyKind::Normal, DependencyKind::Build]);
        match allowed(&package.name) {
            Some(allowed) => assert_eq!(used, allowed, "left: what {} uses; right: ALLOWED in this file", package.name),
            None => assert!(is_tests(&package.name), "{} is not in ALLOWED in this file: say what it may use", package.name),
        }
    }
}

#[test]
fn every_package_in_the_list_exists() {
    let existing: BTreeSet<String> = packages().into_iter().map(|package| package.name.to_string()).collect();
    for (name, _) in ALLOWED {
        assert!(existing.contains(name), "{name}");
    }
}

/// What the tests share. It uses `protocol` and `client`, so tests of whoever is above these may use it.
const SUPPORT: &str = "chatlane-tests-support";

#[test]
fn nothing_uses_the_tests_or_the_runner() {
    for package in packages().iter().filter(|package| !is_tests(&package.name)) {
        let used = names(package, &[DependencyKind::Normal, DependencyKind::Build]);
        let tests_use = names(package, &[DependencyKind::Development]);
        for name in used.iter().chain(tests_use.iter().filter(|name| *name != SUPPORT)) {
            assert!(!is_tests(name) && name != "chatlane-local", "{} uses {name}", package.name);
        }
    }
}

#[test]
fn what_the_tests_share_knows_no_server() {
    let support = packages().into_iter().find(|package| *package.name == SUPPORT).expect("it exists");
    let used = names(&support, &[DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]);
    let ours: Vec<&String> = used.iter().filter(|name| name.starts_with("chatlane-")).collect();
    assert_eq!(ours, ["chatlane-protocol", "chatlane-session"]);
}

/// A fault in what it shared with the judged could hide in both.
#[test]
fn the_checker_shares_no_code_with_what_it_judges() {
    let checker = packages().into_iter().find(|package| *package.name == "chatlane-tests-checker").expect("the checker exists");
    let used = names(&checker, &[DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]);
    assert_eq!(used, BTreeSet::from(["serde_json".to_owned()]));
}

/// Else the packages could not be built and tested from the leaf upwards.
#[test]
fn also_in_its_tests_a_package_uses_no_package_above_it() {
    for package in packages() {
        let Some(allowed) = allowed(&package.name) else { continue };
        for name in names(&package, &[DependencyKind::Development]) {
            let of_workspace = name.starts_with("chatlane-") && *package.name != name;
            let below = if name == SUPPORT { allowed.contains("chatlane-client") } else { allowed.contains(&name) };
            assert!(!of_workspace || below, "{} uses {name} in its tests", package.name);
        }
    }
}
