//! `info` and `members`: what a group is, for those who belong to it.

use chatlane_chat::log::draft::Draft;
use chatlane_chat::log::{ChangeEntry, Role};
use chatlane_chat::ports::{Description, InboxRow, Member};
use chatlane_chat::requests::change::{Asked, change};
use chatlane_chat::requests::look::{info, members};
use chatlane_chat::testing::builders::{
    caller, conversation, entry, member, message_id, position, request_id, seq, settings, unavailable, user,
};
use chatlane_chat::testing::faulty::Fault;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_chat::{Done, Entry, Facts, Refused};
use chatlane_protocol::frames::{ChangeOutcome, GroupInfo, InfoAnswer, InfoOutcome, MembersAnswer, encode};
use chatlane_protocol::request::{Info, Members};
use chatlane_protocol::{ConversationId, ErrorCode, GroupSettings, History, Metadata, Seq, Title, UserId, limits};

fn ask_info(stage: &Stage, who: &str, conversations: &[ConversationId]) -> InfoAnswer {
    let request = Info { id: request_id("r-1"), conversations: conversations.to_vec() };
    let Done { answer, .. } = block_on(info(&stage.ports, &caller(who), &request)).unwrap();
    assert_eq!(answer.id, request.id);
    answer
}

fn told(stage: &Stage, who: &str) -> InfoOutcome {
    let mut answer = ask_info(stage, who, std::slice::from_ref(&stage.conversation));
    assert_eq!((answer.conversations.len(), &answer.conversations[0].conversation), (1, &stage.conversation));
    answer.conversations.remove(0).outcome
}

fn code(outcome: &InfoOutcome) -> Option<ErrorCode> {
    match outcome {
        InfoOutcome::Refused(refusal) => Some(refusal.code),
        InfoOutcome::Ok(_) => None,
    }
}

fn page(stage: &Stage, who: &str, after: Option<UserId>, limit: Option<u32>) -> Result<MembersAnswer, Refused> {
    let request = Members { id: request_id("r-1"), conversation: stage.conversation.clone(), after, limit };
    let answer = block_on(members(&stage.ports, &caller(who), &request))?.answer;
    assert_eq!((&answer.id, &answer.conversation), (&request.id, &request.conversation));
    Ok(answer)
}

fn names(answer: &MembersAnswer) -> Vec<(&str, Role)> {
    answer.members.iter().map(|member| (member.user.as_str(), member.role)).collect()
}

fn four() -> Stage {
    Stage::group(&[("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Moderator), ("dave", Role::Member)])
}

fn done(stage: &Stage, who: &str, id: &str, kind: ChangeEntry) {
    let outcome = stage.change(who, id, position(1), kind).unwrap().answer.outcome;
    assert!(matches!(outcome, ChangeOutcome::Ok(_)), "{outcome:?}");
}

fn all_settings() -> GroupSettings {
    GroupSettings {
        title: Some(Title::new("ours").unwrap()),
        metadata: Some(Metadata::new("{}").unwrap()),
        send: Some(Role::Moderator),
        add: Some(Role::Member),
        manage: Some(Role::Owner),
        locked: Some(true),
        history: Some(History::All),
    }
}

// --- info

#[test]
fn info_tells_what_a_group_is_at_its_last_entry() {
    let stage = four();
    let group = GroupInfo {
        at: seq(1),
        settings: GroupSettings {
            send: Some(Role::Member),
            add: Some(Role::Admin),
            manage: Some(Role::Admin),
            locked: Some(false),
            history: Some(History::Joined),
            ..GroupSettings::default()
        },
        closed: false,
        members: 4,
        role: Role::Member,
        membership_changed: seq(1),
        settings_changed: seq(1),
    };
    assert_eq!(told(&stage, "dave"), InfoOutcome::Ok(group.clone()));
    done(&stage, "alice", "add", ChangeEntry::Added(vec![user("erin")]));
    done(&stage, "alice", "set", ChangeEntry::Settings(all_settings()));
    done(&stage, "alice", "close", ChangeEntry::Closed);
    let (membership_changed, settings_changed) = (seq(2), seq(4));
    let closed = GroupInfo {
        at: seq(4),
        settings: all_settings(),
        closed: true,
        members: 5,
        role: Role::Owner,
        membership_changed,
        settings_changed,
    };
    assert_eq!(told(&stage, "alice"), InfoOutcome::Ok(closed));
}

#[test]
fn of_a_direct_conversation_it_tells_that_nobody_manages_it() {
    let stage = Stage::new();
    let InfoOutcome::Ok(told) = told(&stage, "alice") else { panic!("refused") };
    let settings =
        GroupSettings { send: Some(Role::Member), locked: Some(false), history: Some(History::Joined), ..GroupSettings::default() };
    assert_eq!((told.settings, told.members, told.role, told.settings_changed), (settings, 2, Role::Member, Seq::ZERO));
}

// holds: R1
#[test]
fn each_conversation_is_told_or_refused_of_its_own_and_in_the_order_asked() {
    let stage = four();
    let missing = [conversation("g1"), conversation("g2")];
    let asked = [missing[0].clone(), stage.conversation.clone(), missing[1].clone()];
    let answer = ask_info(&stage, "alice", &asked);
    assert!(answer.conversations.iter().map(|told| &told.conversation).eq(&asked));
    let codes: Vec<_> = answer.conversations.iter().map(|told| code(&told.outcome)).collect();
    // Of those without a row one is looked at twice, and the answer to the others is to ask again.
    assert_eq!(codes[1], None);
    assert!(codes[0].is_some() && codes[2].is_some());
    assert_eq!(code(&told(&stage, "erin")), Some(ErrorCode::NotFound));
}

#[test]
fn a_title_is_read_behind_the_tail_so_that_it_is_never_older_than_what_is_told() {
    let stage = four();
    told(&stage, "dave");
    assert!(stage.ports.is_answered_before("inbox_rows", "read_back"));
    assert!(stage.ports.is_answered_before("read_back", "descriptions"));
}

#[test]
fn as_many_are_told_as_a_page_takes() {
    let stage = Stage::group(&[("alice", Role::Owner)]);
    let groups: Vec<ConversationId> = (0..20).map(|number| conversation(&format!("gGroup{number}"))).collect();
    {
        let mut stored = stage.ports.memory.state();
        let log = stored.log[&stage.conversation].clone();
        let row = stored.inboxes[&user("alice")][&stage.conversation].clone();
        let metadata = Metadata::new("\u{1}".repeat(1024)).unwrap();
        for group in &groups {
            stored.log.insert(group.clone(), log.clone());
            stored.members.insert((group.clone(), user("alice")), member(&user("alice")));
            let row = InboxRow { conversation: group.clone(), ..row.clone() };
            stored.inboxes.get_mut(&user("alice")).unwrap().insert(group.clone(), row);
            let description = Description { metadata: metadata.clone(), title: Title::default() };
            stored.descriptions.insert(group.clone(), description);
        }
    }
    let answer = ask_info(&stage, "alice", &groups);
    assert!(encode(&answer).len() <= limits::PAGE_BYTES_MAX);
    assert_eq!(answer.conversations.len(), 4, "6 KB each");
    assert!(answer.conversations.iter().map(|told| &told.conversation).eq(&groups[..4]));
}

// --- members

#[test]
fn members_come_with_their_roles_in_the_order_of_their_ids() {
    let stage = four();
    let answer = page(&stage, "dave", None, None).unwrap();
    assert_eq!(names(&answer), [("alice", Role::Owner), ("bob", Role::Admin), ("carol", Role::Moderator), ("dave", Role::Member)]);
    assert_eq!(answer.next, None);
    assert!(stage.ports.is_answered_before("inbox_rows", "members"));
    assert!(stage.ports.is_answered_before("members", "read_back"));
}

#[test]
fn pages_go_on_behind_the_last_and_end_without_a_next() {
    let stage = four();
    let first = page(&stage, "dave", None, Some(3)).unwrap();
    assert_eq!((first.members.len(), first.next.clone()), (3, Some(user("carol"))));
    let second = page(&stage, "dave", first.next, Some(3)).unwrap();
    assert_eq!((names(&second), &second.next), (vec![("dave", Role::Member)], &None));
    // Whoever `after` names need not be there.
    assert_eq!(names(&page(&stage, "dave", Some(user("bzz")), Some(1)).unwrap()), [("carol", Role::Moderator)]);
    assert_eq!(names(&page(&stage, "dave", Some(user("zoe")), None).unwrap()), []);
    let exact = page(&stage, "dave", None, Some(4)).unwrap();
    assert_eq!((exact.members.len(), exact.next), (4, None));
}

#[test]
fn a_page_of_the_longest_ids_holds_fewer_and_all_pages_all_members() {
    let long: Vec<String> = (0..199).map(|number| format!("{number:03}{}", "\u{1}".repeat(125))).collect();
    let members: Vec<(&str, Role)> =
        [("alice", Role::Owner)].into_iter().chain(long.iter().map(|name| (name.as_str(), Role::Member))).collect();
    let stage = Stage::group(&members);
    let (mut all, mut after, mut pages) = (vec![], None, 0);
    loop {
        let answer = page(&stage, "alice", after, None).unwrap();
        assert!(encode(&answer).len() <= limits::PAGE_BYTES_MAX);
        pages += 1;
        all.extend(answer.members.into_iter().map(|member| member.user));
        after = answer.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((all.len(), all.is_sorted()), (200, true));
    assert!(pages > 3, "{pages}");
}

// holds: R1, M1
#[test]
fn strangers_and_who_has_left_learn_nothing() {
    let stage = four();
    done(&stage, "dave", "leave", ChangeEntry::Left { successor: None });
    for who in ["erin", "dave"] {
        assert_eq!(page(&stage, who, None, None).unwrap_err().to_wire().code, ErrorCode::NotFound, "{who}");
        assert_eq!(code(&told(&stage, who)), Some(ErrorCode::NotFound), "{who}");
    }
    assert_eq!((stage.ports.count("members"), stage.ports.count("descriptions")), (0, 0));
}

// holds: M1
#[test]
fn who_is_removed_between_the_row_and_the_rest_is_told_nothing() {
    for (method, secrets) in [("members", 0), ("members", 300), ("read_back", 0), ("read_back", 300)] {
        let stage = Stage::new();
        stage.remove_alice_meanwhile(method, 2, secrets);
        assert!(matches!(page(&stage, "alice", None, None), Err(Refused::NotFound)), "{method}");
    }
    for secrets in [0, 300] {
        let stage = Stage::new();
        stage.remove_alice_meanwhile("read_back", 2, secrets);
        assert_eq!(code(&told(&stage, "alice")), Some(ErrorCode::NotFound));
        assert_eq!(stage.ports.count("descriptions"), 0);
    }
}

/// The row of the inbox is older than the entry that made bob a member: the role is that of the tail.
#[test]
fn a_role_that_changes_between_row_and_tail_is_told_as_it_is_at_the_tail() {
    let stage = four();
    let conversation = stage.conversation.clone();
    stage.ports.meanwhile("read_back", move |memory| {
        let mut stored = memory.state();
        let facts = Facts { membership_changed: seq(2), ..stored.log[&conversation][&seq(1)].facts.clone() };
        let demotion = Entry { facts, ..entry(&conversation, 2, "alice") };
        stored.log.get_mut(&conversation).unwrap().insert(seq(2), demotion);
        let demoted = Member { role: Role::Member, version: seq(2), ..member(&user("bob")) };
        stored.members.insert((conversation, user("bob")), demoted);
    });
    assert!(matches!(told(&stage, "bob"), InfoOutcome::Ok(told) if told.role == Role::Member && told.at == seq(2)));
}

#[test]
fn what_cannot_be_read_is_asked_again() {
    for call in ["inbox_rows", "members", "read_back"] {
        let stage = four();
        stage.ports.on(call, Fault::RequestLost);
        assert_eq!(page(&stage, "alice", None, None).unwrap_err().to_wire(), unavailable(), "{call}");
        assert!(page(&stage, "alice", None, None).is_ok());
    }
    for (call, whole) in [("inbox_rows", true), ("read_back", false), ("descriptions", true)] {
        let stage = four();
        stage.ports.on(call, Fault::RequestLost);
        if whole {
            let request = Info { id: request_id("r-1"), conversations: vec![stage.conversation.clone()] };
            assert!(block_on(info(&stage.ports, &caller("alice"), &request)).is_err(), "{call}");
        } else {
            assert_eq!(code(&told(&stage, "alice")), Some(ErrorCode::Unavailable));
        }
        assert_eq!(code(&told(&stage, "alice")), None);
    }
}

/// Title and metadata are read behind the tail, and may be newer: the row is judged behind them.
// holds: M1
#[test]
fn a_title_that_was_set_behind_a_removal_is_not_told() {
    let stage = four();
    let conversation = stage.conversation.clone();
    stage.ports.meanwhile("descriptions", move |memory| {
        let titled = GroupSettings { title: Some(Title::new("secret").unwrap()), ..GroupSettings::default() };
        for (id, kind) in [("out", ChangeEntry::Removed(vec![user("dave")])), ("title", ChangeEntry::Settings(titled))] {
            let draft = Draft { client_message_id: message_id(id), anchor: position(1), kind };
            let asked = Asked { id: request_id("r-2"), conversation: conversation.clone(), draft };
            block_on(change(memory, &settings(), &caller("alice"), &asked)).unwrap();
        }
    });
    assert_eq!(code(&told(&stage, "dave")), Some(ErrorCode::NotFound));
    assert!(matches!(told(&stage, "alice"), InfoOutcome::Ok(told) if told.settings.title.is_some()));
}
