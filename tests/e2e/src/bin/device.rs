//! A device as a process, so that it can be killed: `chatlane_client::Device` on a store file, told what to do by lines of JSON on standard
//! input ([`Order`]), reporting what it shows by lines of JSON on standard output ([`Report`]). The end of the input ends it in order.
//!
//! `device URL STORE USER`, with a token of the user in `CHATLANE_TOKEN`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use chatlane_client::Store;
use chatlane_client::device::{Device, DeviceOptions, NoToken};
use chatlane_protocol::{Body, ClientMessageId, Content, Token, UserId};
use chatlane_session::{Act, Draft, OutgoingState, Shown};
use chatlane_tests_e2e::phone::{Order, Place, Report, TOKEN_VARIABLE, Unsent};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |what| arguments.next().context(what);
    let (url, path, user) = (argument("the URL")?, argument("the store")?, UserId::new(argument("the user")?)?);
    let token = Token::new(std::env::var(TOKEN_VARIABLE)?)?;

    let store = Store::open(Path::new(&path), &user)?;
    report(&restored(&store)?);
    let mut options = DeviceOptions::new(url, &store);
    impatient(&mut options.settings);
    let (device, mut shown) = Device::start(options, store, move || std::future::ready(Ok::<_, NoToken>(token.clone())))?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let mut texts = BTreeMap::new();
    loop {
        tokio::select! {
            order = orders.next_line() => match order? {
                Some(order) => carry_out(&device, serde_json::from_str(&order)?, &mut texts)?,
                None => break,
            },
            shown = shown.recv() => match shown {
                Some(shown) => report_shown(shown, &mut texts),
                None => break, // the store has failed: `shutdown` says why
            },
        }
    }
    device.shutdown().await?;
    Ok(())
}

/// Finds out within seconds what takes a phone half a minute. Less than the gateway lets a function run, so that what is repeated may still
/// be under way: that is allowed (the outcome is unknown), and here it is wanted.
const fn impatient(settings: &mut chatlane_session::Settings) {
    settings.answer_wait_ms = 6_000;
    settings.ping_wait_ms = 2_000;
    settings.back_off_min_ms = 100;
    settings.back_off_max_ms = 2_000;
    // A device begins with an empty store and is to have everything.
    settings.new_entries_max = u64::MAX;
}

/// What an earlier life of this device has left.
fn restored(store: &Store) -> anyhow::Result<Report> {
    let restored = store.restore()?;
    let unsent = restored.outbox.iter().map(|row| Unsent {
        conversation: row.conversation.clone(),
        client_message_id: row.client_message_id.clone(),
        text: match &row.draft {
            Draft::Message { body, .. } => text(body),
            _ => String::new(),
        },
    });
    let has = restored.conversations.iter().map(|row| Place { conversation: row.conversation.clone(), position: row.have });
    Ok(Report::Begun { outbox: unsent.collect(), has: has.collect() })
}

fn carry_out(device: &Device, order: Order, texts: &mut BTreeMap<ClientMessageId, String>) -> anyhow::Result<()> {
    match order {
        Order::Write { conversation, text } => {
            let client_message_id = device.compose(conversation, Body::text(text.clone())?);
            texts.insert(client_message_id, text);
        }
        Order::Wake => device.act(Act::ConnectNow),
    }
    Ok(())
}

fn report_shown(shown: Shown, texts: &mut BTreeMap<ClientMessageId, String>) {
    let shown = match shown {
        Shown::Entry { conversation, entry } => Report::Entry { conversation, entry: Box::new(entry) },
        Shown::Conversation { row, .. } => Report::Has(Place { conversation: row.conversation, position: row.have }),
        Shown::Outgoing { conversation, client_message_id, state } => match state {
            OutgoingState::Waiting => {
                let text = texts.remove(&client_message_id).unwrap_or_default();
                Report::Kept(Unsent { conversation, client_message_id, text })
            }
            OutgoingState::Stored(stored) => Report::Stored { client_message_id, position: stored.position },
            failed @ (OutgoingState::Unchanged | OutgoingState::Failed(_)) => Report::Odd(format!("{client_message_id} is {failed:?}")),
        },
        Shown::Connection(chatlane_session::ConnectionState::Displaced) => Report::Odd("displaced".to_owned()),
        Shown::Connection(state) => Report::Connection(format!("{state:?}")),
        Shown::Cursors { .. } => return,
        other => Report::Odd(format!("{other:?}")),
    };
    report(&shown);
}

fn report(report: &Report) {
    println!("{}", serde_json::to_string(report).expect("a report is JSON"));
}

fn text(body: &Body) -> String {
    match body.content() {
        Content::Text(text) => text.clone(),
        Content::Data(_) => String::new(),
    }
}
