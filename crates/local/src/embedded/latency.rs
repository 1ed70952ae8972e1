//! The time that AWS would take, added to what this machine takes.
//!
//! Each request of a function to `DynamoDB`, SQS or `@connections`, and each hand-over of a batch from SQS to Lambda, takes longer by a
//! time drawn at random from the quantiles below: half of it before the request takes effect, half before its answer. Only the hand-over
//! has published quantiles; the others are *beliefs*, chosen to fit what AWS says of averages, and marked so. Not modelled: the network
//! between client and gateway, the gateway itself, cold starts, throttling. So a figure of a run with latency says how the steps of a
//! request add up, not what a deployment takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::call::Service;
use crate::lambda::Functions;

/// Whether requests take longer than this machine needs for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// They do not.
    #[default]
    Local,
    /// They take as long as at AWS, warm and within one region. The seed fixes the sequence of draws, not which request gets which.
    Aws {
        /// Of the draws.
        seed: u64,
    },
}

/// Milliseconds at rising shares from 0 to 1. In between, the logarithm of the time is linear in the share.
type Quantiles = &'static [(f64, f64)];

/// A read of `DynamoDB`: "you can expect an average latency in single-digit milliseconds" for most atomic operations such as `GetItem` and
/// `PutItem` (AWS re:Post, "How do I troubleshoot high latency on an Amazon `DynamoDB` table?"). Belief: the quantiles.
const READ: Quantiles = &[(0.0, 1.5), (0.5, 2.5), (0.9, 4.0), (0.99, 10.0), (1.0, 25.0)];

/// A write of `DynamoDB`; its median is the one that the design was simulated with. Belief: the other quantiles.
const WRITE: Quantiles = &[(0.0, 3.0), (0.5, 4.5), (0.9, 7.0), (0.99, 15.0), (1.0, 40.0)];

/// A transaction of `DynamoDB`. Belief: twice a write, because it is prepared and committed.
const TRANSACTION: Quantiles = &[(0.0, 6.0), (0.5, 9.0), (0.9, 14.0), (0.99, 30.0), (1.0, 80.0)];

/// A request to SQS. Belief.
const QUEUE: Quantiles = &[(0.0, 3.0), (0.5, 5.0), (0.9, 9.0), (0.99, 25.0), (1.0, 60.0)];

/// A request to `@connections`. Belief.
const CONNECTIONS: Quantiles = &[(0.0, 5.0), (0.5, 10.0), (0.9, 18.0), (0.99, 45.0), (1.0, 120.0)];

/// From a message in a standard queue to the function that gets it: p10 13.7, p50 16.2, p90 33.8, p99 105 ms, measured from before the send
/// (*Serverless Messaging: Latency Compared*, bitesizedserverless.com, eu-west-1, 2022). The time of the send is in it and is taken a
/// second time by [`QUEUE`]: rather too slow than too fast. Belief: the ends.
const HAND_OVER: Quantiles = &[(0.0, 11.0), (0.1, 13.7), (0.5, 16.2), (0.9, 33.8), (0.99, 105.0), (1.0, 210.0)];

/// Draws times.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    random: Arc<Mutex<StdRng>>,
}

impl Delays {
    /// `None` if nothing takes longer.
    pub(super) fn new(latency: Latency) -> Option<Self> {
        match latency {
            Latency::Local => None,
            Latency::Aws { seed } => Some(Self { random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }),
        }
    }

    /// How much longer a request takes.
    pub(super) fn of(&self, service: Service, operation: &str) -> Duration {
        quantiles(service, operation).map_or(Duration::ZERO, |quantiles| self.draw(quantiles))
    }

    fn draw(&self, quantiles: Quantiles) -> Duration {
        let share = self.random.lock().unwrap_or_else(PoisonError::into_inner).random();
        Duration::from_secs_f64(at(quantiles, share) / 1e3)
    }
}

/// The Runtime API is inside an execution environment: no network.
fn quantiles(service: Service, operation: &str) -> Option<Quantiles> {
    match service {
        Service::Runtime => None,
        Service::Sqs => Some(QUEUE),
        Service::Connections => Some(CONNECTIONS),
        Service::DynamoDb => Some(match operation {
            "GetItem" | "BatchGetItem" | "Query" | "Scan" => READ,
            "TransactGetItems" | "TransactWriteItems" => TRANSACTION,
            _ => WRITE,
        }),
    }
}

/// Milliseconds at a share of 0 to 1.
fn at(quantiles: Quantiles, share: f64) -> f64 {
    let next = quantiles.partition_point(|(named, _)| *named < share).clamp(1, quantiles.len() - 1);
    let ((low, fast), (high, slow)) = (quantiles[next - 1], quantiles[next]);
    fast * (slow / fast).powf((share - low) / (high - low))
}

/// The same functions, invoked after the time that a hand-over takes.
pub fn after_hand_over(functions: Functions, latency: Latency) -> Functions {
    let Some(delays) = Delays::new(latency) else { return functions };
    Functions::new(move |function, event| {
        let (functions, delay) = (functions.clone(), delays.draw(HAND_OVER));
        async move {
            tokio::time::sleep(delay).await;
            functions.invoke(&function, event).await
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const ALL: [Quantiles; 6] = [READ, WRITE, TRANSACTION, QUEUE, CONNECTIONS, HAND_OVER];

    fn delays(seed: u64) -> Delays {
        Delays::new(Latency::Aws { seed }).expect("AWS takes time")
    }

    fn milliseconds(time: Duration) -> f64 {
        time.as_secs_f64() * 1e3
    }

    #[test]
    fn of_a_hundred_thousand_draws_every_named_share_is_as_named() {
        const DRAWS: usize = 100_000;
        let delays = delays(7);
        for quantiles in ALL {
            let rising = quantiles.is_sorted_by(|(share, time), (next_share, next_time)| share < next_share && time < next_time);
            let (first, last) = (quantiles[0], quantiles[quantiles.len() - 1]);
            assert!(rising && first.0 <= 0.0 && last.0 >= 1.0, "{quantiles:?}");
            let mut drawn: Vec<f64> = (0..DRAWS).map(|_| milliseconds(delays.draw(quantiles))).collect();
            drawn.sort_by(f64::total_cmp);
            assert!(drawn[0] >= first.1 - 1e-6 && drawn[DRAWS - 1] <= last.1);
            for (percent, index) in [(0.5, DRAWS / 2), (0.9, DRAWS / 10 * 9), (0.99, DRAWS / 100 * 99)] {
                let named = at(quantiles, percent);
                assert!((drawn[index] / named - 1.0).abs() < 0.05, "p{percent}: {} ms drawn, {named} ms named", drawn[index]);
            }
        }
    }

    #[test]
    fn between_two_named_shares_the_logarithm_is_linear() {
        const LINE: Quantiles = &[(0.0, 1.0), (0.5, 4.0), (1.0, 64.0)];
        for (share, time) in [(0.0, 1.0), (0.25, 2.0), (0.5, 4.0), (0.75, 16.0), (1.0, 64.0)] {
            assert!((at(LINE, share) - time).abs() < 1e-9, "{share}");
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draws = |seed| {
            let delays = delays(seed);
            (0..10).map(|_| delays.draw(WRITE)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn a_transaction_takes_longer_than_a_write_than_a_read_and_the_runtime_api_no_time() {
        let least = |service, operation| quantiles(service, operation).map(|quantiles| quantiles[0].1);
        let dynamo = |operation| least(Service::DynamoDb, operation).expect("a request takes time");
        assert!(dynamo("TransactWriteItems") > dynamo("PutItem") && dynamo("PutItem") > dynamo("Query"));
        assert_eq!(delays(1).of(Service::Runtime, "Next"), Duration::ZERO);
        assert!(delays(1).of(Service::Sqs, "SendMessage") > Duration::ZERO);
        assert!(delays(1).of(Service::Connections, "PostToConnection") > Duration::ZERO);
    }

    #[tokio::test]
    async fn a_hand_over_takes_its_time_and_changes_nothing() {
        for (latency, at_least) in [(Latency::Local, Duration::ZERO), (Latency::Aws { seed: 1 }, Duration::from_millis(11))] {
            let began = Instant::now();
            let echo = Functions::new(|_, event| std::future::ready(Ok(event)));
            let answer = after_hand_over(echo, latency).invoke("fan_out", "task".into()).await;
            assert_eq!(answer.expect("an echo"), "task");
            assert!(began.elapsed() >= at_least);
        }
    }
}
