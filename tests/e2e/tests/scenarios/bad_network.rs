//! People on a bad network: connections are cut or fall silent, and the phones are killed. No acknowledged message is missing, none is
//! there twice, and in the end every phone has the same transcript (L1–L5, D1, D2). Functions are killed in `kills`.
//!
//! Four users talk to each other in a ring; one of them has two phones. Each phone is a process with the real client (`phone`), behind its
//! own line to the gateway (`line`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chatlane_aws::Store;
use chatlane_chat::ports::Inboxes as _;
use chatlane_local::stack::DEAD_LETTER_QUEUE;
use chatlane_protocol::{ClientMessageId, ConversationId, Entry, Position, UserId};
use chatlane_tests_e2e::line::Line;
use chatlane_tests_e2e::phone::{Model, Order, Phone, Told};
use chatlane_tests_e2e::{Dice, Folder, Running, patiently, seed, start, text, wire_log};
use futures_util::future::{join, join_all};
use tokio::time::sleep;

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Whose each phone is: alice has two.
const PHONES: [usize; 5] = [0, 0, 1, 2, 3];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Killed,
    Cut,
    Silent,
}

impl Cause {
    /// All, with how often they must befall each phone.
    const ALL: [(Self, usize); 3] = [(Self::Killed, 4), (Self::Cut, 4), (Self::Silent, 2)];
}

/// How often each cause has struck.
#[derive(Default)]
struct Faults([AtomicUsize; Cause::ALL.len()]);

impl Faults {
    fn note(&self, cause: Cause) {
        self.0[cause as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self, cause: Cause) -> usize {
        self.0[cause as usize].load(Ordering::SeqCst)
    }

    fn enough(&self) -> bool {
        Cause::ALL.into_iter().all(|(cause, times)| self.count(cause) >= times * PHONES.len())
    }
}

/// A phone with its line.
struct Party {
    /// Begins the text of everything that is written on it.
    name: String,
    phone: Phone,
    line: Line,
    url: String,
    conversations: Vec<ConversationId>,
}

// holds: L3, D1
#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_whatever_is_cut_or_killed_and_all_transcripts_are_the_same() {
    // Longer than any worker takes on a busy machine: tasks handed out twice would only add to its load.
    let stack = start(|settings| settings.visibility_timeout = Duration::from_secs(30)).await;
    let (store, seed, began) = (stack.store().await, seed(), Instant::now());
    let folder = Folder::new();
    let conversations = ring(&stack).await;
    let parties = join_all((0..PHONES.len()).map(|number| party(&stack, &folder, number, seed, &conversations))).await;

    let faults = Faults::default();
    let befallen = join_all(parties.iter().zip(seed..).map(|(party, seed)| befall(party, &faults, seed)));
    let typed = join_all(parties.iter().zip(seed..).map(|(party, seed)| converse(party, &faults, seed)));
    let (_, written) = join(befallen, typed).await;
    let stormed = began.elapsed();

    tokio::select! {
        () = settle(&parties, &store, &conversations) => {}
        () = look_at_phones(&parties) => unreachable!("people look at their phones for ever"),
    }
    stack.quiet().await;
    assert!(stack.queue().depth(DEAD_LETTER_QUEUE).unwrap().is_empty(), "a task was given up");
    let settled = began.elapsed();

    let written: BTreeSet<String> = written.into_iter().flatten().collect();
    let told = judge(parties, &store, &conversations, &written).await;
    for (cause, _) in Cause::ALL {
        println!("{:5} × {cause:?}", faults.count(cause));
    }
    println!("{} messages written, {} kept by phones, {} in 4 logs, none twice", written.len(), told.kept, told.messages);
    println!(
        "{} transcripts identical to the log; {} entries shown live or by sync, {} acknowledgements seen",
        told.transcripts, told.shown, told.stored
    );
    println!(
        "{} connections, {} chunks torn; {stormed:.0?} of faults, quiet after {:.0?} more",
        told.connections,
        told.torn,
        settled.saturating_sub(stormed)
    );
}

/// The conversations of the ring: of each user and the next.
async fn ring(stack: &Running) -> Vec<ConversationId> {
    let mut conversations = vec![];
    for (number, user) in USERS.into_iter().enumerate() {
        let opened = stack.device(user).await.open(USERS[(number + 1) % USERS.len()]).await;
        conversations.push(opened.expect("a conversation is opened").conversation);
    }
    stack.quiet().await;
    conversations
}

async fn party(stack: &Running, folder: &Folder, number: usize, seed: u64, ring: &[ConversationId]) -> Party {
    let user = PHONES[number];
    let line = Line::to(stack.address(), seed.wrapping_add(number as u64)).await;
    let model = Model {
        program: env!("CARGO_BIN_EXE_device").into(),
        user: USERS[user].to_owned(),
        token: stack.token(USERS[user], Duration::from_hours(1)),
        store: folder.file(&format!("phone-{number}")),
    };
    let url = line.url(&stack.url());
    let phone = Phone::start(model, &url).await;
    let conversations = vec![ring[user].clone(), ring[(user + USERS.len() - 1) % USERS.len()].clone()];
    phone.until("a phone knows its conversations", |told| conversations.iter().all(|one| told.has.contains_key(one)).then_some(())).await;
    Party { name: format!("{}'s phone {number}", USERS[user]), phone, line, url, conversations }
}

/// What befalls one phone and its line, in an order of its own.
async fn befall(party: &Party, faults: &Faults, seed: u64) {
    let mut dice = Dice::new(!seed);
    let mut coming: Vec<Cause> = Cause::ALL.into_iter().flat_map(|(cause, times)| std::iter::repeat_n(cause, times)).collect();
    dice.shuffle(&mut coming);
    while let Some(cause) = coming.pop() {
        pause(&mut dice, 4_000).await;
        let struck = match cause {
            Cause::Cut => party.line.cut(),
            Cause::Silent => party.line.silence(),
            Cause::Killed => {
                party.phone.kill_and_start(&party.url).await;
                true
            }
        };
        if struck {
            faults.note(cause);
        } else {
            coming.push(cause); // there was no connection
        }
        if dice.one_in(2) {
            party.phone.order(&Order::Wake).await;
        }
    }
}

/// Its user writes now here, now there, not far ahead of what is sent. Answers what was written.
async fn converse(party: &Party, faults: &Faults, seed: u64) -> Vec<String> {
    const UNSENT_MAX: usize = 10;
    let mut dice = Dice::new(seed.rotate_left(32));
    let mut written = vec![];
    while !faults.enough() {
        pause(&mut dice, 400).await;
        if party.phone.told().waiting() < UNSENT_MAX {
            let text = format!("{}: {:04}", party.name, written.len());
            let conversation = &party.conversations[dice.below(party.conversations.len())];
            party.phone.write(conversation, &text).await;
            written.push(text);
        }
    }
    written
}

/// Faults and people do not come at regular times. Nothing waits for this.
async fn pause(dice: &mut Dice, ms_max: u64) {
    sleep(Duration::from_millis(dice.between(0, ms_max))).await;
}

/// What finds out that a connection is silent: the next ping would, minutes later.
async fn look_at_phones(parties: &[Party]) {
    loop {
        for party in parties {
            party.phone.order(&Order::Wake).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until everything that was kept is in the log, everybody has all of it, and the server knows.
async fn settle(parties: &[Party], store: &Store, conversations: &[ConversationId]) {
    for party in parties {
        party.phone.until("the outbox is empty", |told| (told.waiting() == 0).then_some(())).await;
    }
    let mut tails = BTreeMap::new();
    for conversation in conversations {
        let log = wire_log(store, conversation).await;
        is_a_lane(&log);
        tails.insert(conversation.clone(), log.last().expect("a conversation has its first entry").position);
    }
    for Party { phone, conversations, .. } in parties {
        let has_all = |told: &Told| conversations.iter().all(|one| told.has.get(one) >= tails.get(one));
        phone.until("a phone has everything", |told| has_all(told).then_some(())).await;
    }
    for (number, user) in USERS.into_iter().enumerate() {
        let phones = PHONES.into_iter().filter(|owner| *owner == number).count();
        patiently("every phone has acknowledged everything", acknowledged(store, user, phones, &tails)).await;
    }
}

/// Waits until the server knows that so many phones of a user have everything. Asks again and again: cursors tell nobody.
async fn acknowledged(store: &Store, user: &str, phones: usize, tails: &BTreeMap<ConversationId, Position>) {
    let user = UserId::new(user).unwrap();
    let conversations: Vec<_> = tails.keys().cloned().collect();
    loop {
        let rows = store.inbox_rows(&user, &conversations).await.expect("rows can be read");
        let of_user = rows.into_iter().filter_map(|row| row.expect("a row can be read"));
        let known = |row: chatlane_chat::ports::InboxRow| {
            row.delivered.len() == phones && row.delivered.values().all(|at| Some(at) >= tails.get(&row.conversation))
        };
        if of_user.map(known).eq([true, true]) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// What was judged.
#[derive(Default)]
struct Judged {
    messages: usize,
    kept: usize,
    stored: usize,
    shown: usize,
    transcripts: usize,
    connections: u64,
    torn: u64,
}

/// Ends the phones, and compares their stores, and everything that they have told, with the logs.
async fn judge(parties: Vec<Party>, store: &Store, conversations: &[ConversationId], written: &BTreeSet<String>) -> Judged {
    let mut ended = vec![];
    for Party { name, phone, line, conversations, .. } in parties {
        let user = phone.user().to_owned();
        let (told, local) = phone.shut_down().await;
        ended.push((name, user, told, local, line, conversations));
    }
    let mut logs: BTreeMap<ConversationId, Vec<Entry>> = BTreeMap::new();
    for conversation in conversations {
        logs.insert(conversation.clone(), wire_log(store, conversation).await);
    }
    for log in logs.values() {
        is_a_lane(log);
    }

    let mut judged = Judged::default();
    for (name, user, told, local, line, conversations) in ended {
        assert!(told.wrong.is_empty(), "{name}: {:?}", told.wrong);
        let restored = local.restore().expect("a store can be read");
        assert!(restored.outbox.is_empty(), "{name}: {:?}", restored.outbox);
        for conversation in &conversations {
            let log = &logs[conversation];
            let transcript = local.entries(conversation, None, usize::MAX).expect("a store can be read");
            assert!(transcript == *log, "{name}: another transcript than the log of {conversation}");
            let shown = told.shown.get(conversation).into_iter().flatten();
            for entry in shown {
                assert_eq!(*entry, log[index(entry.position)], "{name}: shown is what is in the log");
                judged.shown += 1;
            }
            judged.transcripts += 1;
        }
        let mine = own(&logs, &user);
        for unsent in told.kept.values() {
            let (conversation, entry) = mine.get(&unsent.client_message_id).unwrap_or_else(|| panic!("{name}: {unsent:?} is lost"));
            assert_eq!((*conversation, text(entry)), (&unsent.conversation, Some(unsent.text.as_str())), "{name}");
        }
        for (id, position) in &told.stored {
            assert_eq!(mine[id].1.position, *position, "{name}: L3: acknowledged here");
        }
        judged.kept += told.kept.len();
        judged.stored += told.stored.len();
        let (connections, torn) = line.traffic();
        (judged.connections, judged.torn) = (judged.connections + connections, judged.torn + torn);
    }
    let messages = || logs.values().flatten().filter_map(text);
    assert!(messages().all(|text| written.contains(text)), "every message was written");
    // One more than was kept: a phone was killed before it could tell.
    judged.messages = messages().count();
    judged
}

/// L1, L2, L5: no gap, no message twice, and what was written on one phone is in the order in which it was written.
fn is_a_lane(log: &[Entry]) {
    let seqs = log.iter().map(|entry| entry.position.seq.get());
    assert!(seqs.eq(1..=log.len() as u64), "L1");
    let ids: BTreeSet<_> = log.iter().map(|entry| (&entry.sender, &entry.client_message_id)).collect();
    let texts: BTreeSet<_> = log.iter().map(text).collect();
    assert_eq!((ids.len(), texts.len()), (log.len(), log.len()), "L2");
    let mut last = BTreeMap::new();
    for (name, number) in log.iter().filter_map(text).filter_map(|text| text.split_once(": ")) {
        let before = last.insert(name, number);
        assert!(before < Some(number), "L5: {name} wrote {number} before {before:?}");
    }
}

/// The entries of a user, by their ids.
fn own<'a>(logs: &'a BTreeMap<ConversationId, Vec<Entry>>, user: &str) -> BTreeMap<&'a ClientMessageId, (&'a ConversationId, &'a Entry)> {
    let entries = logs.iter().flat_map(|(conversation, log)| log.iter().map(move |entry| (conversation, entry)));
    entries.filter(|(_, entry)| entry.sender.as_str() == user).map(|found| (&found.1.client_message_id, found)).collect()
}

fn index(position: Position) -> usize {
    usize::try_from(position.seq.get() - 1).unwrap()
}
