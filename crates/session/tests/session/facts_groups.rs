//! Making a group, and what it is.

use chatlane_protocol::frames::{ChangeOutcome, ConversationInfo, GroupInfo, InfoAnswer, InfoOutcome, MemberInfo, MembersAnswer};
use chatlane_protocol::request::{Create, Info};
use chatlane_protocol::{Entry, ErrorCode, Outcome, RequestId, Role, ServerFrame, Title, UserId};
use chatlane_session::{Act, Failure, Shown};

use crate::phone::*;

impl Phone {
    fn makes_group(&mut self) {
        let (client_message_id, users) = (message_id("g"), vec![user("bob")]);
        self.does(Act::Create { client_message_id, users, settings: titled("Tea") });
    }

    fn members_come(&mut self, id: &RequestId, names: &[&str], next: Option<&str>) {
        let member = |name: &&str| MemberInfo { user: user(name), role: Role::Member };
        let (members, next) = (names.iter().map(member).collect(), next.map(user));
        self.receive(&ServerFrame::Members(MembersAnswer { id: id.clone(), conversation: d1(), members, next }));
    }

    fn info_comes(&mut self, asked: &Info, outcomes: impl IntoIterator<Item = InfoOutcome>) {
        let told = asked.conversations.iter().cloned().zip(outcomes);
        let conversations = told.map(|(conversation, outcome)| ConversationInfo { conversation, outcome }).collect();
        self.receive(&ServerFrame::Info(InfoAnswer { id: asked.id.clone(), conversations }));
    }

    fn groups_created(&mut self) -> usize {
        self.shown.extract_if(.., |shown| matches!(shown, Shown::Created { .. })).count()
    }
}

fn info(at: u64) -> GroupInfo {
    GroupInfo {
        at: self::at(at).seq,
        settings: titled("Tea"),
        closed: false,
        members: 3,
        role: Role::Owner,
        membership_changed: self::at(1).seq,
        settings_changed: self::at(1).seq,
    }
}

#[test]
fn a_group_is_stored_then_made_and_repeated_under_the_same_name() {
    let mut phone = Phone::new();
    phone.go_live([]);
    phone.slow_store = true;
    phone.makes_group();
    phone.makes_group();
    assert!(phone.sent.is_empty(), "not in the store yet");
    phone.settle_store();
    let first = phone.create();
    assert_eq!((first.client_message_id.as_str(), &first.users, &first.settings), ("g", &vec![user("bob")], &titled("Tea")));
    phone.restart();
    phone.go_live([]);
    let again = phone.create();
    assert_eq!(Create { id: first.id.clone(), ..again.clone() }, first);
    phone.changed(&chatlane_protocol::Request::Create(again), ChangeOutcome::Duplicate(stored(1)));
    assert_eq!((phone.groups_created(), phone.store.groups.len()), (1, 0));
    let row = phone.row();
    assert_eq!((row.title.as_ref().map(Title::as_str), row.role, row.told), (Some("Tea"), Some(Role::Owner), true));
    let send = phone.attempt("m");
    assert_eq!(send.messages[0].anchor, at(1));
    phone.entries_come(vec![Entry { kind: group_created("Tea"), ..own_entry("g", 1) }]);
    assert_eq!((phone.groups_created(), phone.row().have), (0, at(1)));
    phone.results(&send, [Outcome::Ok(stored(2))]);
    phone.pass(2_000);
    assert!(phone.sent.is_empty(), "{:?}", phone.sent);
}

#[test]
fn a_group_is_made_when_its_first_entry_comes() {
    let mut phone = Phone::new();
    phone.go_live([]);
    phone.makes_group();
    let _unanswered = phone.create();
    phone.entries_come(vec![Entry { kind: group_created("Tea"), ..own_entry("g", 1) }]);
    assert_eq!((phone.groups_created(), phone.store.groups.len()), (1, 0));
    phone.reconnects([]);
    assert!(phone.sent.is_empty());
}

#[test]
fn a_group_that_is_refused_is_given_up_and_one_that_is_put_off_is_not() {
    let mut phone = Phone::new();
    phone.go_live([]);
    phone.makes_group();
    let asked = phone.create();
    phone.refuse(&asked.id, refusal(ErrorCode::RateLimited).after_ms(60_000));
    phone.pass(59_000);
    assert!(phone.sent.is_empty());
    phone.pass(2_000);
    let asked = phone.create();
    phone.refuse(&asked.id, refusal(ErrorCode::Forbidden));
    let failed = |shown: &&Shown| matches!(shown, Shown::Failed(Failure::Create { refusal, .. }) if refusal.code == ErrorCode::Forbidden);
    assert_eq!((phone.shown.iter().filter(failed).count(), phone.store.groups.len()), (1, 0));
    phone.makes_group();
    let asked = phone.create();
    phone.changed(&chatlane_protocol::Request::Create(asked), ChangeOutcome::Conflict(stored(1)));
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::Create { .. }))));
}

#[test]
fn members_are_asked_page_by_page_and_shown_at_once() {
    let mut phone = Phone::live(&knows_group(2), []);
    let asks = || Act::AskMembers { conversation: d1() };
    phone.does(asks());
    phone.does(asks());
    let first = phone.asks_members();
    phone.members_come(&first.id, &["alice", "bob"], Some("bob"));
    let second = phone.asks_members();
    assert_eq!((first.after, second.after.as_ref().map(UserId::as_str)), (None, Some("bob")));
    phone.reconnects([]);
    let second = phone.asks_members();
    phone.members_come(&second.id, &["carol"], None);
    let Some(Shown::Members { members, .. }) = phone.shown.last() else { panic!("{:?}", phone.shown) };
    assert_eq!(members.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
    phone.does(asks());
    let asked = phone.asks_members();
    phone.members_come(&asked.id, &["bob"], Some("bob"));
    let asked = phone.asks_members();
    phone.members_come(&asked.id, &[], Some("bob"));
    assert!(phone.sent.is_empty(), "pages that do not ascend have no end");
}

#[test]
fn info_is_asked_for_many_and_kept_where_it_is_newer() {
    let mut phone = Phone::live(&knows_group(2), []);
    phone.does(Act::AskInfo { conversations: vec![d1(), d1(), d2()] });
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::NoConversation(_)))), "d2 is not known");
    let asked = phone.info();
    assert_eq!(asked.conversations, [d1()]);
    phone.info_comes(&asked, [InfoOutcome::Ok(info(2))]);
    let row = phone.row();
    assert_eq!((row.title.as_ref().map(Title::as_str), row.titled, row.role), (Some("Tea"), at(2).seq, Some(Role::Owner)));
    assert_eq!(row.group.unwrap().members, 3);
    phone.entries_come(vec![entry_of(3, chatlane_protocol::EntryKind::Settings { settings: titled("Coffee") })]);
    phone.does(Act::AskInfo { conversations: vec![d1()] });
    let asked = phone.info();
    phone.info_comes(&asked, [InfoOutcome::Ok(info(2))]);
    assert_eq!(phone.row().title.as_ref().map(Title::as_str), Some("Coffee"), "the answer is from before");
}

#[test]
fn what_info_leaves_out_or_puts_off_is_asked_again_and_what_it_refuses_is_not() {
    let mut phone = Phone::live(&knows_also(2, [d2()]), []);
    phone.does(Act::AskInfo { conversations: vec![d1(), d2()] });
    let asked = phone.info();
    phone.info_comes(&asked, [InfoOutcome::Ok(info(2))]);
    let asked = phone.info();
    assert_eq!(asked.conversations, [d2()], "there was no room for it");
    phone.info_comes(&asked, [InfoOutcome::Refused(refusal(ErrorCode::Busy))]);
    assert!(phone.sent.is_empty());
    phone.pass(500);
    let asked = phone.info();
    phone.info_comes(&asked, []);
    assert!(phone.sent.is_empty(), "an answer without anything");
    phone.pass(1_000);
    let asked = phone.info();
    phone.info_comes(&asked, [InfoOutcome::Refused(refusal(ErrorCode::Forbidden))]);
    assert!(matches!(phone.shown.last(), Some(Shown::Failed(Failure::Group { .. }))));
    phone.pass(60_000);
    assert!(phone.sent.is_empty());
}
