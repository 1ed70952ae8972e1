//! A reconnect storm: 2,000 devices (1,000 users with two each) lose their connection at once and come back, while pairs go on talking and
//! some of the users are written to. Fails unless every device has said hello again, every message of the pairs was delivered, and both
//! devices of everybody who was written to have the letter, pushed or fetched. Prints the pairs' latencies before, during and after.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chatlane_protocol::frames::ConversationHead;
use chatlane_protocol::request::SyncFrom;
use chatlane_protocol::{ClientMessageId, DeviceId, Entry, Position};
use chatlane_tests_e2e::{Device, DeviceError, Dice, Running, message, start};
use chatlane_tests_load::ledger::{Measured, histogram, micros};
use chatlane_tests_load::pairs::{Pairs, entries_of};
use chatlane_tests_load::table;
use chatlane_tests_support::sender::{Sender, Tally};
use clap::Parser;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use hdrhistogram::Histogram;
use tokio::time::{sleep, sleep_until, timeout};

/// A reconnect storm on a stack of its own.
#[derive(Debug, Parser)]
struct Options {
    /// Users that lose their connections, with two devices each.
    #[arg(long, default_value_t = 1000)]
    users: u32,
    /// Seconds over which a device chooses, at random, when it connects again (full jitter). After each failure twice as long.
    #[arg(long, default_value_t = 60)]
    spread: u64,
    /// Users of them who are written to meanwhile.
    #[arg(long, default_value_t = 100)]
    letters: u32,
    /// Messages a second of the others, over all pairs.
    #[arg(long, default_value_t = 4.0)]
    rate: f64,
    /// Pairs of others.
    #[arg(long, default_value_t = 4)]
    pairs: usize,
    /// Seconds that the others are measured before and after.
    #[arg(long, default_value_t = 20)]
    calm: u64,
    /// Of the others' due times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The longest time over which a device chooses.
const SPREAD_MAX: Duration = Duration::from_mins(2);

/// The first wait before a request is repeated, of which a random part passes; it doubles up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Connections that are opened at once when nobody is in a hurry.
const AT_ONCE: usize = 8;

/// A token's life: longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(2);

/// How long a letter may take to be found.
const PATIENCE: Duration = Duration::from_mins(1);

/// Both ends of every socket are in this process, and some are open for the functions.
const DESCRIPTORS_PER_DEVICE: u64 = 2;
const DESCRIPTORS_BESIDE: u64 = 1000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(options.letters <= options.users, "--letters is at most --users");
    enough_descriptors(&options)?;
    let running = start(|settings| settings.visibility_timeout = Duration::from_secs(30)).await;
    let stack = &running;
    let pairs = Pairs::connect(stack, options.pairs).await?;
    let post = Post::open(stack, options.letters).await?;
    println!("{} devices of {} users; {}", 2 * options.users, options.users, table::machine());

    let began = Instant::now();
    let owners = (0..options.users).flat_map(|number| [number; 2]);
    let arriving = stream::iter(owners).map(async |number| {
        let mut device = Returning::new(stack, number);
        device.return_to(stack, Duration::from_secs(1)).await?;
        anyhow::Ok(device)
    });
    let mut devices: Vec<Returning> = arriving.buffer_unordered(AT_ONCE).try_collect().await?;
    println!("connected, {AT_ONCE} at once, within {:.0} s", began.elapsed().as_secs_f64());

    let calm = Duration::from_secs(options.calm);
    // The first messages start processes.
    pairs.talk(options.rate, options.seed, sleep(calm / 4)).await?;
    let before = Instant::now();
    pairs.talk(options.rate, options.seed + 1, sleep(calm)).await?;

    let cut = Instant::now();
    for device in &mut devices {
        device.online = None; // no close frame: the server finds out by itself
    }
    let spread = Duration::from_secs(options.spread);
    let mut returned = None;
    let storm = async {
        let returning = try_join_all(devices.iter_mut().map(|device| device.return_to(stack, spread)));
        returned = Some(tokio::try_join!(returning, post.send_over(spread)));
    };
    pairs.talk(options.rate, options.seed + 2, storm).await?;
    let (setbacks, letters) = returned.context("the storm is over")??;
    let over = Instant::now();
    stack.quiet().await;
    let after = Instant::now();
    pairs.talk(options.rate, options.seed + 3, sleep(calm)).await?;

    for device in &devices {
        if let Some(letter) = letters.get(&device.user) {
            let finding = timeout(PATIENCE, device.find(letter));
            finding.await.with_context(|| format!("{} never got the letter", device.user))??;
        }
    }
    report(
        &pairs,
        &devices,
        &setbacks,
        letters.len(),
        &[("before", before, cut), ("during the storm", cut, over), ("after", after, Instant::now())],
    );
    Ok(())
}

/// The soft limit of open files is often 1,024.
fn enough_descriptors(options: &Options) -> anyhow::Result<()> {
    let needed = DESCRIPTORS_PER_DEVICE * 2 * u64::from(options.users) + DESCRIPTORS_BESIDE;
    let limits = std::fs::read_to_string("/proc/self/limits").context("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of open files")?;
    let soft = line.split_whitespace().next().context("no soft limit")?;
    // `unlimited` is enough.
    if soft.parse::<u64>().is_ok_and(|soft| soft < needed) {
        bail!("{needed} files have to be open at once, {soft} may: ulimit -n {needed}");
    }
    Ok(())
}

/// One of the devices that lose their connection.
struct Returning {
    user: String,
    id: DeviceId,
    token: String,
    online: Option<Online>,
    /// From the cut until it has all that it missed.
    away: Duration,
}

struct Online {
    device: Device,
    /// What this connection has fetched.
    fetched: Vec<Entry>,
}

impl Returning {
    fn new(stack: &Running, number: u32) -> Self {
        let user = format!("user {number}");
        let token = stack.token(&user, TOKEN_LIFETIME);
        Self { user, id: DeviceId::from(uuid::Uuid::new_v4()), token, online: None, away: Duration::ZERO }
    }

    /// Connects, says hello and fetches what was missed. `None`: to be tried again on another socket.
    async fn connect(&self, stack: &Running, dice: &mut Dice, setbacks: &mut Tally) -> anyhow::Result<Option<Online>> {
        let device = match Device::connect(&stack.url(), self.id, &self.token).await {
            Ok(device) => device,
            Err(DeviceError::Handshake(status @ (429 | 500..=599))) => {
                setbacks.note(format!("handshake {status}"));
                return Ok(None);
            }
            Err(DeviceError::Other(_)) => {
                setbacks.note("unreachable".to_owned());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mut back_off = BACK_OFF;
        loop {
            // The socket is good: what is repeated on it costs less than another handshake.
            setbacks.note(match catch_up(&device).await {
                Ok(fetched) => return Ok(Some(Online { device, fetched })),
                Err(DeviceError::GatewayError(frame)) => frame["message"].as_str().unwrap_or_default().to_owned(),
                Err(DeviceError::Refused(refusal)) if refusal.retryable => format!("{:?}", refusal.code),
                Err(DeviceError::Closed(closed)) => {
                    setbacks.note(format!("closed with {}", closed.code));
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            });
            sleep(back_off.mul_f64(dice.share())).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    /// Full jitter: each handshake at a random time within a span that doubles. Answers why attempts failed.
    async fn return_to(&mut self, stack: &Running, spread: Duration) -> anyhow::Result<Tally> {
        let (cut, mut dice) = (Instant::now(), Dice::unpredictable());
        let (mut spread, mut setbacks) = (spread, Tally::default());
        loop {
            sleep(spread.mul_f64(dice.share())).await;
            if let Some(online) = self.connect(stack, &mut dice, &mut setbacks).await? {
                self.online = Some(online);
                self.away = cut.elapsed();
                return Ok(setbacks);
            }
            spread = (spread * 2).min(SPREAD_MAX);
        }
    }

    /// Returns when the letter is here.
    async fn find(&self, letter: &ClientMessageId) -> anyhow::Result<()> {
        let Online { device, fetched } = self.online.as_ref().context("every device is back")?;
        if fetched.iter().any(|entry| entry.client_message_id == *letter) {
            return Ok(());
        }
        let mine = |entry: Entry| entry.client_message_id == *letter;
        let found = device.found(|frames| frames.iter().cloned().flat_map(entries_of).any(mine).then_some(()));
        found.await.context("the connection stays open")
    }
}

/// Says hello, then fetches all conversations from their beginnings.
async fn catch_up(device: &Device) -> Result<Vec<Entry>, DeviceError> {
    let rows = device.hello_knowing(&[]).await?.into_iter().flat_map(|page| page.conversations);
    let all = rows.map(|row| SyncFrom { conversation: row.conversation.conversation, after: Position::ZERO });
    Ok(device.catch_up(&all.collect::<Vec<_>>()).await?.into_values().flatten().collect())
}

/// Somebody who writes to users whether they are there or not.
struct Post {
    device: Device,
    lanes: Vec<(String, ConversationHead)>,
}

impl Post {
    async fn open(stack: &Running, letters: u32) -> anyhow::Result<Self> {
        let device = stack.device("post").await;
        let mut lanes = vec![];
        for number in 0..letters {
            let user = format!("user {number}");
            let lane = device.open(&user).await?;
            lanes.push((user, lane));
        }
        Ok(Self { device, lanes })
    }

    /// One letter to each, evenly over the time. Answers their ids.
    async fn send_over(&self, time: Duration) -> anyhow::Result<BTreeMap<String, ClientMessageId>> {
        let began = Instant::now();
        let count = u32::try_from(self.lanes.len())?;
        let writing = (0..).zip(&self.lanes).map(async |(number, (user, lane)): (u32, &(String, ConversationHead))| {
            sleep_until((began + time * number / count.max(1)).into()).await;
            let letter = message("you were away", lane.head);
            Sender::new(number.into()).send_all(&self.device, &lane.conversation, vec![letter.clone()], |_, _| ()).await?;
            anyhow::Ok((user.clone(), letter.client_message_id))
        });
        Ok(try_join_all(writing).await?.into_iter().collect())
    }
}

fn report(pairs: &Pairs, devices: &[Returning], setbacks: &[Tally], letters: usize, spans: &[(&str, Instant, Instant)]) {
    let mut away = histogram();
    for device in devices {
        away.saturating_record(micros(device.away));
    }
    let mut counts = Tally::default();
    for one in setbacks {
        counts.add(one);
    }
    println!(
        "all {} devices are back; {letters} letters are on both devices of their receivers; repeated: {:?}",
        devices.len(),
        counts.setbacks
    );
    println!("{}", table::latencies(&[("cut → hello answered", &away)], None));
    let measured: Vec<(String, Measured)> =
        spans.iter().map(|(name, from, to)| ((*name).to_owned(), pairs.ledger().measured(*from..*to))).collect();
    let lines: Vec<(String, &Histogram<u64>)> = measured
        .iter()
        .flat_map(|(name, measured)| [(format!("ack, {name}"), &measured.acknowledged), (format!("deliver, {name}"), &measured.delivered)])
        .collect();
    println!("the others, {} messages, none lost:", measured.iter().map(|(_, measured)| measured.offered).sum::<u64>());
    println!("{}", table::latencies(&lines.iter().map(|(name, histogram)| (name.as_str(), *histogram)).collect::<Vec<_>>(), None));
}
