//! The command by which an operator raises the epoch, as `infra/README.md` gives it, on the embedded tables.

use chatlane_chat::deployment::Deployment;
use chatlane_chat::ports::Deployments as _;
use chatlane_chat::testing::builders::deployment;
use chatlane_tests_e2e::dynamodb;
use serde_json::{Map, Value, json};

use crate::embedded::Backend;

const PAGE: &str = include_str!("../../../../infra/README.md");

/// The request that the command makes: each option is the field of its name, and its text or JSON the value.
fn documented() -> Value {
    let (_, command) = PAGE.split_once("aws dynamodb update-item ").expect("the page has the command");
    let (command, _) = command.split_once("```").expect("the command ends");
    let quoted = command.split("--").skip(1).filter_map(|option| {
        let (name, rest) = option.split_once(" '")?;
        let (text, _) = rest.split_once('\'')?;
        let field: String = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        Some((field, serde_json::from_str(text).unwrap_or_else(|_| json!(text))))
    });
    let mut request: Map<String, Value> = quoted.collect();
    assert_eq!(request.len(), 4, "{request:?}");
    request.insert("TableName".to_owned(), json!("conversations"));
    request.into()
}

/// Whether the command took effect.
async fn played(backend: &Backend) -> bool {
    let url = backend.url.clone();
    tokio::spawn(async move { dynamodb(&url, "UpdateItem", &documented()).await }).await.is_ok()
}

#[tokio::test]
async fn the_documented_command_raises_the_epoch_keeps_the_secret_and_never_lowers_or_makes_anything() {
    let backend = Backend::embedded().await;
    assert!(!played(&backend).await, "there is nothing to raise");
    assert_eq!(backend.store.deployment().await.unwrap(), None);

    backend.store.found(&deployment()).await.unwrap();
    assert!(played(&backend).await);
    let raised = Deployment { epoch: 2, ..deployment() };
    assert_eq!(backend.store.deployment().await.unwrap(), Some(raised.clone()));
    assert!(!played(&backend).await, "it has that epoch already");
    assert_eq!(backend.store.deployment().await.unwrap(), Some(raised));
}
