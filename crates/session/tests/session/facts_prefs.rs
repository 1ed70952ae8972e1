//! What the user prefers: kept and asked for until the server has it, told by version. The simple cases are vectors.

use chatlane_protocol::frames::ConversationRow;
use chatlane_protocol::{ErrorCode, Position, Prefs, PrefsChange, Refusal, UnixMillis};
use chatlane_session::{Act, Failure, Shown};

use crate::phone::*;

const PIN: PrefsChange = PrefsChange { pinned: Some(true), ..NOTHING };
const UNPIN: PrefsChange = PrefsChange { pinned: Some(false), ..NOTHING };
const ARCHIVE: PrefsChange = PrefsChange { archived: Some(true), ..NOTHING };
const NOTHING: PrefsChange = PrefsChange { muted_until_ms: None, mentions: None, pinned: None, archived: None, unread: None };

fn pinned(version: u64) -> Prefs {
    Prefs { version, pinned: true, ..Prefs::default() }
}

/// `d1` as `hello` answers it, with these preferences.
fn row_with(prefs: Option<Prefs>) -> ConversationRow {
    ConversationRow { prefs, ..row(at(3), Position::ZERO) }
}

impl Phone {
    /// The preferences that were shown since the last look.
    fn prefs_shown(&mut self) -> Vec<Prefs> {
        self.shown.drain(..).filter_map(|shown| if let Shown::Prefs { prefs, .. } = shown { Some(prefs) } else { None }).collect()
    }

    /// Why wishes were given up since the last look.
    fn wishes_failed(&mut self) -> Vec<ErrorCode> {
        let failed = |shown| if let Shown::Failed(Failure::Prefs { refusal, .. }) = shown { Some(refusal.code) } else { None };
        self.shown.drain(..).filter_map(failed).collect()
    }
}

#[test]
fn a_wish_is_asked_for_when_the_store_has_it_and_shown_then() {
    let mut phone = Phone::live_at(3);
    phone.slow_store = true;
    phone.prefer(PIN);
    assert_eq!((phone.sent.len(), phone.prefs_shown()), (0, vec![]));
    phone.commit();
    assert_eq!(phone.prefs_shown(), [pinned(0)]);
    let asked = phone.asks_prefs();
    assert_eq!(asked.prefs, PIN);
    phone.prefers(&asked, pinned(1));
    phone.settle_store();
    assert_eq!(phone.prefs_shown(), [], "what the user sees is the same");
    assert_eq!((phone.row().prefs, phone.row().wished), (pinned(1), NOTHING));
}

#[test]
fn wishes_are_joined_field_by_field_and_one_request_is_in_flight() {
    let mut phone = Phone::live_at(3);
    phone.prefer(PIN);
    let first = phone.asks_prefs();
    phone.prefer(ARCHIVE);
    phone.prefer(UNPIN);
    phone.prefer(PrefsChange { unread: Some(true), mentions: Some(true), ..NOTHING });
    assert_eq!(phone.sent.len(), 0);
    phone.prefers(&first, pinned(1));
    // The server has pinned it, and the user has changed their mind since.
    let shown = Prefs { version: 1, archived: true, unread: true, mentions: true, ..Prefs::default() };
    assert_eq!(phone.row().preferred(), shown);
    let second = phone.asks_prefs();
    let all = PrefsChange { unread: Some(true), mentions: Some(true), ..PrefsChange { pinned: Some(false), ..ARCHIVE } };
    assert_eq!(second.prefs, all);
    phone.prefers(&second, Prefs { version: 2, ..shown });
    assert_eq!((phone.row().wished, phone.row().preferred()), (NOTHING, Prefs { version: 2, ..shown }));
    phone.pass(10_000);
    assert_eq!(phone.sent.len(), 0);
}

#[test]
fn each_conversation_has_its_own_request() {
    let mut phone = Phone::live(&knows_also(3, [d2()]), []);
    phone.prefer(PIN);
    phone.does(Act::Prefer { conversation: d2(), prefs: ARCHIVE });
    assert_eq!((phone.asks_prefs().conversation, phone.asks_prefs().conversation), (d1(), d2()));
}

#[test]
fn a_wish_outlives_a_restart_and_the_time_without_a_connection() {
    let mut phone = Phone::with(&knows(3));
    let muted = PrefsChange { muted_until_ms: Some(UnixMillis::ZERO.plus_ms(5)), ..PIN };
    phone.prefer(muted);
    phone.restart();
    assert_eq!(phone.row().preferred().muted_until_ms, muted.muted_until_ms);
    phone.connect_now();
    phone.opened();
    let hello = phone.hello();
    // A page that was read before the wish would bring back what was there before it.
    phone.hello_answered(hello, [], Some(d1()));
    let page = phone.hello();
    phone.pass(1_000);
    assert_eq!(phone.sent.len(), 0);
    phone.hello_answered(page, [], None);
    assert_eq!(phone.asks_prefs().prefs, muted);
    phone.breaks();
    phone.welcome([]);
    let asked = phone.asks_prefs();
    phone.prefers(&asked, Prefs { muted_until_ms: muted.muted_until_ms, ..pinned(1) });
    phone.restart();
    assert_eq!((phone.row().wished, phone.row().prefs.version), (NOTHING, 1));
    phone.go_live([]);
    assert_eq!(phone.sent.len(), 0);
}

#[test]
fn a_request_that_is_put_off_is_repeated_with_what_is_wished_then() {
    let mut phone = Phone::live_at(3);
    phone.prefer(PIN);
    let asked = phone.asks_prefs();
    phone.refuse(&asked.id, refusal(ErrorCode::Unavailable).after_ms(5_000));
    phone.prefer(ARCHIVE);
    phone.pass(4_999);
    assert_eq!(phone.sent.len(), 0);
    phone.pass(501);
    assert_eq!(phone.asks_prefs().prefs, PrefsChange { pinned: Some(true), ..ARCHIVE });
    phone.gateway_fails();
    phone.pass(1_001);
    assert_eq!(phone.asks_prefs().prefs.pinned, Some(true));
}

#[test]
fn what_is_refused_for_good_is_wished_no_more_and_said() {
    for code in [ErrorCode::BadRequest, ErrorCode::NotFound, ErrorCode::Unknown] {
        let mut phone = Phone::live(&knows_group(3), []);
        phone.prefer(PIN);
        let asked = phone.asks_prefs();
        phone.prefer(ARCHIVE);
        phone.shown.clear();
        phone.refuse(&asked.id, refusal(code));
        assert_eq!(phone.row().wished, ARCHIVE);
        assert_eq!(phone.wishes_failed(), [code]);
        // Of a group only `sync` says whether the user is a member.
        if code == ErrorCode::NotFound {
            phone.sync();
        }
        assert_eq!(phone.asks_prefs().prefs, ARCHIVE);
    }
}

#[test]
fn of_two_versions_the_higher_one_holds_however_it_is_told() {
    let mut phone = Phone::live_at(3);
    phone.shown.clear();
    phone.prefs_changed(pinned(2));
    phone.prefs_changed(Prefs { version: 1, ..Prefs::default() });
    phone.prefs_changed(Prefs { version: 2, archived: true, ..Prefs::default() });
    assert_eq!((phone.prefs_shown(), phone.row().prefs), (vec![pinned(2)], pinned(2)));
    phone.prefer(ARCHIVE);
    let asked = phone.asks_prefs();
    // Another device was faster, and the push overtakes the answer.
    phone.prefs_changed(Prefs { version: 4, ..Prefs::default() });
    phone.prefers(&asked, Prefs { archived: true, ..pinned(3) });
    assert_eq!((phone.row().prefs.version, phone.row().preferred().archived, phone.row().wished), (4, false, NOTHING));
}

#[test]
fn a_row_of_hello_tells_them_and_one_without_forgets_them() {
    let mut phone = Phone::live(&knows(3), [row_with(Some(pinned(2)))]);
    assert_eq!(phone.row().prefs, pinned(2));
    phone.breaks();
    let hello = phone.hello();
    assert_eq!(hello.known[0].prefs, 2);
    phone.hello_answered(hello, [row_with(Some(Prefs { version: 1, ..Prefs::default() }))], None);
    assert_eq!(phone.row().prefs, pinned(2), "an old one");
    let mut phone = Phone::live(&phone.store, [row_with(None)]);
    assert_eq!(phone.row().prefs, Prefs::default());
    assert_eq!(phone.prefs_shown(), [Prefs::default()]);
}

#[test]
fn a_hello_of_a_restored_deployment_tells_lower_versions() {
    let mut phone = Phone::live(&knows(3), [row_with(Some(pinned(5)))]);
    phone.breaks();
    let mut answer = hello_answer(phone.hello().id, vec![row_with(Some(Prefs { archived: true, version: 3, ..Prefs::default() }))], None);
    answer.epoch = 2;
    phone.receive(&chatlane_protocol::ServerFrame::Hello(Box::new(answer)));
    assert_eq!((phone.row().prefs.version, phone.row().prefs.archived), (3, true));
}

/// By a log that is rolled back, and by one that begins anew.
#[test]
fn behind_a_restore_hello_is_asked_what_the_user_prefers_and_what_they_wish_stays() {
    for code in [ErrorCode::EpochChanged, ErrorCode::AnchorUnknown] {
        for told in [None, Some(pinned(1))] {
            let mut phone = Phone::live(&knows(3), [row_with(Some(pinned(5)))]);
            phone.prefer(ARCHIVE);
            let asked = phone.asks_prefs();
            phone.refuse(&asked.id, refusal(ErrorCode::Unavailable).after_ms(600_000));
            let sync = phone.gap_before(5);
            phone.refuse_page(&sync, Refusal { common: (code == ErrorCode::EpochChanged).then(|| at(2)), ..refusal(code) });
            if code == ErrorCode::EpochChanged {
                let sync = phone.sync();
                phone.page(&sync, vec![], true);
            }
            let hello = phone.hello();
            assert_eq!(hello.known, [], "whatever the server has, it tells");
            assert!(phone.row().prefs.pinned);
            phone.sent.clear();
            phone.hello_answered(hello, [row_with(told)], None);
            assert_eq!((phone.row().prefs, phone.row().wished), (told.unwrap_or_default(), ARCHIVE));
            phone.sent.clear();
            phone.breaks();
            assert_eq!(phone.hello().known[0].prefs, told.unwrap_or_default().version);
        }
    }
}

/// The restore has taken back nothing that the device has of the log, and a change of what the user prefers.
#[test]
fn where_the_log_goes_on_in_a_later_epoch_hello_is_asked_what_the_user_prefers() {
    let mut phone = Phone::live(&knows(3), [row_with(Some(pinned(5)))]);
    let sync = phone.gap_before(5);
    phone.sent.clear();
    phone.page(&sync, vec![entry(2, 4), entry(2, 5)], true);
    let hello = phone.hello();
    assert_eq!(hello.known, []);
    let row = ConversationRow { prefs: Some(pinned(4)), ..row(at_epoch(2, 5), Position::ZERO) };
    let answer = chatlane_protocol::frames::HelloAnswer { epoch: 2, ..hello_answer(hello.id, vec![row], None) };
    phone.receive(&chatlane_protocol::ServerFrame::Hello(Box::new(answer)));
    assert_eq!(phone.row().prefs, pinned(4));
}

/// Another device has set the first preference ever, between the server's reading and the answer.
#[test]
fn a_row_without_preferences_takes_nothing_back_that_a_push_has_told_meanwhile() {
    let mut phone = Phone::live(&knows(3), []);
    phone.sent.clear();
    phone.breaks();
    let hello = phone.hello();
    phone.prefs_changed(pinned(1));
    phone.hello_answered(hello, [row_with(None)], None);
    assert_eq!(phone.row().prefs, pinned(1));
}

#[test]
fn a_push_tells_what_is_doubted_too() {
    let mut phone = Phone::live(&knows(3), [row_with(Some(pinned(5)))]);
    let sync = phone.gap_before(5);
    phone.refuse_page(&sync, restored_to(at(2)));
    phone.prefs_changed(Prefs { version: 2, ..Prefs::default() });
    assert_eq!(phone.row().prefs.version, 2);
}

/// The removal is among what is skipped, and versions began anew behind it.
#[test]
fn who_was_removed_and_added_again_unseen_asks_what_they_prefer() {
    let mut phone = Phone::live(&knows_group(3), [ConversationRow { prefs: Some(pinned(5)), ..group_row(at(3)) }]);
    let sync = phone.gap_before(9);
    phone.sent.clear();
    phone.skips(&sync, 6, vec![added(7, "alice"), entry(1, 8), entry(1, 9)], true);
    let hello = phone.hello();
    phone.hello_answered(hello, [ConversationRow { prefs: Some(Prefs { version: 1, ..Prefs::default() }), ..group_row(at(9)) }], None);
    assert_eq!(phone.row().prefs, Prefs { version: 1, ..Prefs::default() });
}

#[test]
fn who_is_no_member_any_more_loses_what_they_preferred_and_wished() {
    let mut phone = Phone::live(&knows_group(3), [ConversationRow { prefs: Some(pinned(2)), ..group_row(at(3)) }]);
    phone.prefer(ARCHIVE);
    let asked = phone.asks_prefs();
    phone.shown.clear();
    phone.entries_come(vec![removed(4, "alice")]);
    let seen = phone.shown.clone();
    assert_eq!(phone.wishes_failed(), [ErrorCode::NotFound]);
    phone.shown = seen;
    assert_eq!(phone.prefs_shown().last(), Some(&Prefs::default()));
    // What was on its way changes nothing, and is said once.
    phone.refuse(&asked.id, refusal(ErrorCode::NotFound));
    phone.prefs_changed(pinned(3));
    assert_eq!((phone.row().prefs, phone.row().wished, phone.wishes_failed()), (Prefs::default(), NOTHING, vec![]));
    phone.prefer(PIN);
    assert_eq!((phone.row().wished, phone.wishes_failed()), (NOTHING, vec![ErrorCode::NotFound]));
}

#[test]
fn of_a_conversation_that_the_device_does_not_know_nothing_is_wished_or_told() {
    let mut phone = Phone::live(&Shelf::default(), []);
    phone.shown.clear();
    phone.prefer(PIN);
    phone.prefs_changed(pinned(1));
    assert_eq!(phone.shown, [Shown::Failed(Failure::NoConversation(d1()))]);
    assert_eq!((phone.session.conversations().count(), phone.sent.len()), (0, 0));
}
