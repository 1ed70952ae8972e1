//! `create`: a group for a name that its creator gave, once, whatever was lost on the way.

use chatlane_chat::log::append::ATTEMPTS_MAX;
use chatlane_chat::log::kinds::group_conversation;
use chatlane_chat::log::{Entry, GroupCreatedEntry, Head, Kind, LaterEntry, Policy, Role};
use chatlane_chat::ports::{Created, Creations as _, Joining, Member, ReadCursor};
use chatlane_chat::requests::create::create;
use chatlane_chat::testing::builders::{
    caller, description, group_creation, head, message_id, position, request_id, seq, settings, start, task_by, unavailable, user,
};
use chatlane_chat::testing::faulty::{Fault, Faulty};
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::workers::task::Task;
use chatlane_chat::{Did, Done, Refused};
use chatlane_protocol::frames::{ChangeAnswer, ChangeOutcome};
use chatlane_protocol::limits::GROUPS_MAX;
use chatlane_protocol::request::Create;
use chatlane_protocol::{ConversationId, ErrorCode, GroupSettings, Metadata};

use super::{locked, stored, titled, users};

fn ask(store: &Faulty, id: &str, others: &[&str], wanted: GroupSettings) -> Result<Done<ChangeAnswer>, Refused> {
    let request = Create { id: request_id("r-1"), client_message_id: message_id(id), users: users(others), settings: wanted };
    let done = block_on(create(store, &settings(), &caller("alice"), &request))?;
    assert_eq!((&done.answer.id, &done.answer.conversation), (&request.id, &group(id)));
    Ok(done)
}

/// The group of alice and bob.
fn ask_for_two(store: &Faulty) -> Result<ChangeOutcome, Refused> {
    Ok(ask(store, "group", &["bob"], GroupSettings::default())?.answer.outcome)
}

fn group(id: &str) -> ConversationId {
    group_conversation(&settings().keys.groups, &user("alice"), &message_id(id))
}

fn tasks(store: &Faulty) -> usize {
    std::mem::take(&mut store.memory.state().queue).len()
}

#[test]
fn creating_makes_the_group_its_members_and_their_rows_and_announces_it() {
    let store = Faulty::new(start());
    let wanted = GroupSettings { metadata: Some(Metadata::new("{}").unwrap()), send: Some(Role::Admin), ..titled("ours") };
    let done = ask(&store, "group", &["dave", "bob"], wanted.clone()).unwrap();
    assert_eq!(done.answer.outcome, ChangeOutcome::Ok(stored(1)));
    assert_eq!(done.did, Did { stored: 1, attempts: 1, tasks: 1, ..Did::default() });

    let [entry]: [Entry; 1] = store.memory.entries(&group("group")).try_into().unwrap();
    let all = users(&["alice", "bob", "dave"]);
    let policy = Policy { send: Role::Admin, ..Policy::GROUP };
    let whole = GroupSettings { title: wanted.title, metadata: wanted.metadata, ..policy.settings() };
    assert_eq!(entry.kind, Kind::GroupCreated(GroupCreatedEntry { members: all.clone(), settings: whole }));
    let facts = &entry.facts;
    assert_eq!((facts.members, facts.owners, facts.members_sum), (3, 1, Some(settings().keys.users.sum(&all))));
    assert_eq!((facts.membership_changed, facts.settings_changed, facts.removed), (seq(1), seq(1), seq(0)));
    assert_eq!((&facts.policy, facts.count, facts.unanswered), (&policy, 0, None));
    {
        let state = store.memory.state();
        assert_eq!(state.heads[&entry.conversation], Head::default());
        assert_eq!(state.descriptions[&entry.conversation], description("ours", "{}"));
        for who in all {
            let role = if who == user("alice") { Role::Owner } else { Role::Member };
            let joins = Member { user: who.clone(), role, visible_from: seq(1), version: seq(1) };
            let joined = Joining::of_group(&entry.conversation, joins, ReadCursor { position: position(1), count: 0 });
            assert_eq!(state.members[&(entry.conversation.clone(), who.clone())], joined.member);
            assert_eq!(state.inboxes[&who][&entry.conversation], joined.row);
        }
        let task = Task { group: entry.head().group, ..task_by("alice", &entry.conversation, 1, 1) };
        assert_eq!(state.queue, [(task, 0)]);
    }
    assert!(store.is_answered_before("create", "enqueue"));
}

#[test]
fn a_group_may_begin_with_its_creator_alone_who_may_name_themselves() {
    let store = Faulty::new(start());
    assert_eq!(ask(&store, "alone", &[], GroupSettings::default()).unwrap().answer.outcome, ChangeOutcome::Ok(stored(1)));
    assert_eq!(ask(&store, "self", &["alice"], locked(true)).unwrap().answer.outcome, ChangeOutcome::Ok(stored(1)));
    let state = store.memory.state();
    assert_eq!((state.members.len(), state.inboxes[&user("alice")].len()), (2, 2));
}

// holds: L2
#[test]
fn a_retry_finds_the_group_and_another_wish_under_its_name_conflicts() {
    let store = Faulty::new(start());
    let wanted = || titled("ours");
    ask(&store, "group", &["bob", "carol"], wanted()).unwrap();
    store.memory.state().heads.insert(group("group"), head(1));
    tasks(&store);
    let retried = ask(&store, "group", &["carol", "bob"], wanted()).unwrap();
    assert_eq!((retried.answer.outcome, retried.did), (ChangeOutcome::Duplicate(stored(1)), Did { duplicates: 1, ..Did::default() }));
    for (others, settings) in
        [(&["bob"][..], wanted()), (&["bob", "carol"], titled("other")), (&["bob", "carol"], GroupSettings::default())]
    {
        assert_eq!(ask(&store, "group", others, settings).unwrap().answer.outcome, ChangeOutcome::Conflict(stored(1)));
    }
    assert_eq!((tasks(&store), store.count("create"), store.memory.entries(&group("group")).len()), (0, 1, 1));
    // Another name is another group.
    assert_eq!(ask(&store, "other", &["bob", "carol"], wanted()).unwrap().answer.outcome, ChangeOutcome::Ok(stored(1)));
}

// holds: K1
#[test]
fn a_group_that_a_later_version_has_made_is_a_duplicate() {
    let store = Faulty::new(start());
    ask_for_two(&store).unwrap();
    let kind = Kind::Later(LaterEntry { kind: "channel_created".to_owned(), wire: None });
    store.memory.state().log.get_mut(&group("group")).unwrap().get_mut(&seq(1)).unwrap().kind = kind;
    assert_eq!(ask_for_two(&store).unwrap(), ChangeOutcome::Duplicate(stored(1)));
}

// holds: L4
#[test]
fn who_died_between_creation_and_enqueue_is_made_good_by_the_retry() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let store = Faulty::new(start());
        store.on("enqueue", fault);
        assert_eq!(ask_for_two(&store).unwrap_err().to_wire(), unavailable());
        tasks(&store);
        assert_eq!(ask_for_two(&store).unwrap(), ChangeOutcome::Duplicate(stored(1)));
        assert_eq!(tasks(&store), 1);
    }
}

#[test]
fn a_creation_of_which_nothing_is_known_is_found_by_the_retry() {
    let store = Faulty::new(start());
    store.on("create", Fault::AnswerLost);
    assert_eq!(ask_for_two(&store).unwrap_err().to_wire(), unavailable());
    assert_eq!((ask_for_two(&store).unwrap(), tasks(&store)), (ChangeOutcome::Duplicate(stored(1)), 1));
    // The same below the port: the second answer says that it exists.
    let store = Faulty::new(start());
    store.on("create", Fault::Resent);
    assert_eq!((ask_for_two(&store).unwrap(), tasks(&store)), (ChangeOutcome::Duplicate(stored(1)), 1));
}

#[test]
fn who_meets_a_transaction_tries_again_and_is_busy_after_six() {
    let store = Faulty::new(start());
    (0..2).for_each(|_| store.on("create", Fault::Contended));
    let done = ask(&store, "group", &["bob"], GroupSettings::default()).unwrap();
    assert_eq!(done.did, Did { stored: 1, attempts: 3, tasks: 1, ..Did::default() });

    let store = Faulty::new(start());
    (0..ATTEMPTS_MAX).for_each(|_| store.on("create", Fault::Contended));
    assert!(matches!(ask_for_two(&store), Err(Refused::Busy)));
    assert_eq!((store.count("create"), tasks(&store)), (ATTEMPTS_MAX, 0));
}

#[test]
fn whatever_cannot_be_reached_creating_is_retried() {
    for call in ["read", "create", "heads", "enqueue"] {
        let store = Faulty::new(start());
        store.on(call, Fault::RequestLost);
        assert_eq!(ask_for_two(&store).unwrap_err().to_wire(), unavailable(), "{call}");
        assert_eq!(tasks(&store), 0, "{call}");
        ask_for_two(&store).unwrap();
        assert_eq!((tasks(&store), store.memory.entries(&group("group")).len()), (1, 1), "{call}");
    }
}

#[test]
fn groups_count_among_the_conversations_of_a_day() {
    let store = Faulty::new(start());
    for number in 0..50 {
        ask(&store, &format!("group-{number}"), &[], GroupSettings::default()).unwrap();
    }
    let today_ms = 86_400_000 - start().get() % 86_400_000;
    let refused = ask(&store, "one-more", &[], GroupSettings::default()).unwrap_err();
    assert!(matches!(refused, Refused::TooManyOpened { retry_after_ms } if retry_after_ms == today_ms), "{refused:?}");
    ask(&store, "group-7", &[], GroupSettings::default()).unwrap();
    store.memory.clock.advance_ms(today_ms);
    ask(&store, "one-more", &[], GroupSettings::default()).unwrap();
}

#[test]
fn nobody_who_is_in_two_thousand_groups_is_in_a_new_one() {
    for full in ["alice", "carol"] {
        let store = Faulty::new(start());
        store.memory.fill_inbox(full, GROUPS_MAX);
        let refused = ask(&store, "group", &["bob", "carol"], GroupSettings::default()).unwrap_err();
        assert!(matches!(refused, Refused::GroupsFull), "{refused:?}");
        assert!(store.memory.state().log.is_empty());
        // An earlier attempt, of which nobody knew, has made the group meanwhile.
        let ours = group("group");
        store.meanwhile("groups_of", move |memory| {
            let creation = group_creation(&ours, &[("alice", Role::Owner), ("bob", Role::Member), ("carol", Role::Member)]);
            assert!(matches!(block_on(memory.create(&creation)), Ok(Created::New)));
        });
        assert!(ask(&store, "group", &["bob", "carol"], GroupSettings::default()).is_ok());
    }
}

#[test]
fn a_group_whose_first_entry_no_frame_holds_is_refused_before_anything_is_read() {
    let store = Faulty::new(start());
    let long: Vec<String> = (0..39).map(|number| format!("{number:02}{}", "\u{1}".repeat(126))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let refused = ask(&store, "group", &long, GroupSettings::default()).unwrap_err();
    assert_eq!((refused.to_wire().code, store.counts().len()), (ErrorCode::TooLarge, 0));
}
