//! R1: what a stranger asks costs the same whether the conversation exists or not, and however long it is: no time tells what no answer does.

use std::collections::BTreeMap;

use chatlane_chat::log::draft::Draft;
use chatlane_chat::log::{AmendmentEntry, ChangeEntry, Role};
use chatlane_chat::requests::caller::Caller;
use chatlane_chat::requests::change::{self, Asked};
use chatlane_chat::requests::cursors::{self, Cursor};
use chatlane_chat::requests::{history, look, ping, prefs, probe, send, sync};
use chatlane_chat::testing::builders::{caller, conversation, message, message_id, position, request_id, seq, text, user};
use chatlane_chat::testing::faulty::Faulty;
use chatlane_chat::testing::ready::block_on;
use chatlane_chat::testing::stage::Stage;
use chatlane_protocol::frames::{InfoOutcome, SyncOutcome};
use chatlane_protocol::request::{History, Info, Members, Ping, PositionIn, Positions, Probe, SendMessages, SetPrefs, Sync, SyncFrom};
use chatlane_protocol::{
    Action, ConversationId, GroupSettings, MessageResult, Outcome, Position, PrefsChange, Reacting, ReactionChange, ReactionKey, RequestId,
    Seq, Title,
};

/// What a request about the conversation costs: how often each method of a port is called. The rows that are read have one size.
fn cost(stage: &Stage, who: &Caller, action: Action, to: &ConversationId, named: Position) -> BTreeMap<&'static str, usize> {
    let (ports, settings): (&Faulty, _) = (&stage.ports, &stage.settings);
    let before = ports.counts();
    let (id, conversation): (RequestId, ConversationId) = (request_id("r-1"), to.clone());
    let positions = || vec![PositionIn { read: Some(named), ..PositionIn::new(to.clone(), named) }];
    let refused = match action {
        Action::Send => {
            let messages = vec![message("m-1", named), message("m-2", position(1))];
            let answer = block_on(send::send(ports, settings, who, &SendMessages { id, conversation, messages })).unwrap().answer;
            matches!(&answer.results[..], [MessageResult { outcome: Outcome::Refused(_), .. }, _])
        }
        Action::Probe => {
            let request = Probe { id, conversation, anchor: named, ids: vec![message_id("bob-2")] };
            block_on(probe::probe(ports, settings, who, &request)).is_err()
        }
        Action::History => {
            let before = Some(named.seq).filter(|seq| *seq > Seq::ZERO);
            block_on(history::history(ports, &settings.keys.users, who, &History { id, conversation, before, limit: None })).is_err()
        }
        Action::Sync => {
            let request = Sync { id, conversations: vec![SyncFrom { conversation, after: named }], ack: positions() };
            let answer = block_on(sync::sync(ports, settings, who, &request)).unwrap().answer;
            matches!(answer.pages[0].outcome, SyncOutcome::Refused(_)) && !answer.acked
        }
        Action::Ack | Action::Read => {
            let cursor = if action == Action::Ack { Cursor::Delivered } else { Cursor::Read };
            let request = Positions { id, positions: positions(), private: false, quiet: true };
            block_on(cursors::answer(ports, settings, who, &request, cursor)).unwrap().answer.is_some()
        }
        Action::Ping => block_on(ping::ping(ports, &who.user, who.connection.as_ref().unwrap(), &Ping { id, open: vec![conversation] }))
            .unwrap()
            .answer
            .conversations
            .is_empty(),
        Action::Add | Action::Remove | Action::Leave | Action::Role | Action::Settings | Action::Close => {
            let kind = match action {
                Action::Add => ChangeEntry::Added(vec![user("mallory")]),
                Action::Remove => ChangeEntry::Removed(vec![user("bob")]),
                Action::Leave => ChangeEntry::Left { successor: Some(user("bob")) },
                Action::Role => ChangeEntry::Role { user: user("mallory"), role: Role::Owner },
                Action::Settings => ChangeEntry::Settings(GroupSettings { title: Some(Title::default()), ..GroupSettings::default() }),
                _ => ChangeEntry::Closed,
            };
            let asked = Asked { id, conversation, draft: Draft { client_message_id: message_id("m-1"), anchor: named, kind } };
            block_on(change::change(ports, settings, who, &asked)).is_err()
        }
        Action::Edit | Action::Delete | Action::React => {
            let target = seq(5);
            let reaction = || Reacting { target, key: ReactionKey::new("+1").unwrap(), change: ReactionChange::Add };
            let kind = match action {
                Action::Edit => AmendmentEntry::Edit { target, body: Some(text("mine")) },
                Action::Delete => AmendmentEntry::Deletion { target },
                _ => AmendmentEntry::Reaction(reaction()),
            };
            let asked = Asked { id, conversation, draft: Draft { client_message_id: message_id("m-1"), anchor: named, kind } };
            block_on(change::change(ports, settings, who, &asked)).is_err()
        }
        Action::Prefs => {
            let prefs = PrefsChange { pinned: Some(true), ..PrefsChange::default() };
            block_on(prefs::prefs(ports, who, &SetPrefs { id, conversation, prefs })).is_err()
        }
        Action::Info => {
            let answer = block_on(look::info(ports, who, &Info { id, conversations: vec![conversation] })).unwrap().answer;
            matches!(answer.conversations[0].outcome, InfoOutcome::Refused(_))
        }
        Action::Members => block_on(look::members(ports, who, &Members { id, conversation, after: None, limit: None })).is_err(),
        // None names a conversation by its id.
        Action::Hello | Action::Open | Action::Create | Action::Refresh | Action::Ticket => true,
    };
    assert!(refused, "{action:?} {named}");
    let mut counts = ports.counts();
    counts.retain(|method, count| {
        *count -= before.get(method).copied().unwrap_or_default();
        *count > 0
    });
    counts
}

// holds: R1
#[test]
fn every_action_costs_a_stranger_the_same_whether_the_conversation_exists_or_not() {
    let (short, long, broken) = (Stage::with_entries(10), Stage::with_entries(10_000), Stage::with_entries(10));
    broken.remove_entry(4);
    let (missing, mallory) = (conversation("dMissing"), caller("mallory"));
    for action in Action::ALL {
        for named in [Position::ZERO, position(1), position(5), position(10), position(10_000), position(99_999), Position::new(0, seq(3))]
        {
            let none = cost(&short, &mallory, *action, &missing, named);
            for stage in [&short, &long, &broken] {
                assert_eq!(cost(stage, &mallory, *action, &stage.conversation, named), none, "{action:?} {named}");
            }
            let of_the_log = [
                "read",
                "read_back",
                "at",
                "put",
                "change",
                "advance",
                "prefer",
                "descriptions",
                "members",
                "entry_consistent",
                "reacted",
                "reactions",
                "amend",
            ];
            assert!(of_the_log.iter().all(|call| !none.contains_key(call)), "{action:?}: {none:?}");
        }
    }
}
