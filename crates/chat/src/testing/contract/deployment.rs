//! The item that all functions of a deployment share.

use futures_util::future::join_all;

use super::{Backend, fresh};
use crate::deployment::{Deployment, Secret};

/// By whoever is first; a store of an earlier run has one already.
pub async fn a_deployment_is_founded_once_and_everybody_is_answered_the_one_that_stands<B: Backend>(store: &B) {
    let before = store.deployment().await.unwrap();
    let drawn = |_| {
        let mut secret = [0; Secret::BYTES];
        secret[..17].copy_from_slice(fresh("").as_bytes());
        Deployment { secret: Secret(secret), epoch: 7 }
    };
    let firsts: Vec<Deployment> = (0..12).map(drawn).collect();
    let answers = join_all(firsts.iter().map(|first| store.found(first))).await;
    let stands = store.deployment().await.unwrap().expect("it was founded");
    assert!(answers.into_iter().all(|answer| answer.unwrap() == stands));
    assert!(before.map_or_else(|| firsts.contains(&stands), |before| before == stands), "{stands:?}");
}
