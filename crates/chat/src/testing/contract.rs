//! What every backend does: one fact, one function. A backend's test file runs each as a test of its own by
//! [`contract_tests!`](crate::contract_tests).
//!
//! A fact makes its own conversations and users, under names that nobody else has, so that all facts can run against one backend, at the
//! same time and again on what an earlier run left behind. It panics where the backend breaks it.
#![expect(clippy::missing_panics_doc, reason = "said once for all, in the lines above")]

mod amendments;
mod changes;
mod creation;
mod cursors;
mod deployment;
mod heads;
mod log;
mod sessions;
mod tickets;

use std::hash::{BuildHasher as _, RandomState};

use chatlane_protocol::{ConversationId, UserId};

pub use self::amendments::*;
pub use self::changes::*;
pub use self::creation::*;
pub use self::cursors::*;
pub use self::deployment::*;
pub use self::heads::*;
pub use self::log::*;
pub use self::sessions::*;
pub use self::tickets::*;
use super::builders;
use crate::log::Head;
use crate::ports::{
    Accounts, Amendments, Connections, Creations, Deployments, Heads, Inboxes, Memberships, MessageLog, ReadBound, Tickets,
};

/// All ports that store something.
pub trait Backend:
    MessageLog + Creations + Amendments + Memberships + Inboxes + Heads + Connections + Accounts + Deployments + Tickets
{
}

impl<B: MessageLog + Creations + Amendments + Memberships + Inboxes + Heads + Connections + Accounts + Deployments + Tickets> Backend
    for B
{
}

/// Makes a test of every fact of [`crate::testing::contract`], under the fact's own name. `$fact` is the fact, to be called with a
/// reference to the backend; `$run` calls it and waits for it.
///
/// ```text
/// contract_tests!(#[test] |fact| block_on(fact(&Memory::new())));
/// contract_tests!(#[tokio::test] async |fact| fact(&connect().await).await);
/// contract_tests!(#[test] fn all_facts_on_one_store |fact| block_on(fact(&*STORE)));   // one test, one fact after the other
/// ```
#[macro_export]
macro_rules! contract_tests {
    (#[$test:meta] |$fact:ident| $run:expr) => {
        $crate::contract_facts! { (each #[$test] () |$fact| $run) }
    };
    (#[$test:meta] async |$fact:ident| $run:expr) => {
        $crate::contract_facts! { (each #[$test] (async) |$fact| $run) }
    };
    (#[$test:meta] fn $all:ident |$fact:ident| $run:expr) => {
        $crate::contract_facts! { (all #[$test] fn $all |$fact| $run) }
    };
    (@ (each #[$test:meta] $async:tt |$fact:ident| $run:expr) $($name:ident)+) => {
        $crate::contract_tests! { @each $([#[$test] $async |$fact| $run; $name])+ }
    };
    (@each $([#[$test:meta] ($($async:tt)?) |$fact:ident| $run:expr; $name:ident])+) => {
        $(
            #[$test]
            $($async)? fn $name() {
                let $fact = $crate::testing::contract::$name;
                $run;
            }
        )+
    };
    (@ (all #[$test:meta] fn $all:ident |$fact:ident| $run:expr) $($name:ident)+) => {
        #[$test]
        fn $all() {
            $(
                let $fact = $crate::testing::contract::$name;
                $run;
            )+
        }
    };
}

/// The list of all facts, for [`contract_tests!`](crate::contract_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! contract_facts {
    ($how:tt) => {
        $crate::contract_tests! { @ $how
            // --- the log
            a_put_entry_is_read_exactly_as_it_was_written
            a_put_into_a_taken_slot_answers_the_occupant_and_changes_nothing
            of_many_puts_into_one_slot_exactly_one_is_stored
            a_read_begins_at_its_seq_ascends_and_ends_at_its_bound_of_entries
            a_read_ends_after_the_entry_that_exceeds_its_bound_of_bytes
            what_a_reader_has_does_not_count
            a_read_beyond_the_tail_or_of_no_conversation_is_empty
            a_read_goes_past_a_megabyte
            a_run_with_a_gap_is_broken
            a_read_back_descends_from_below_its_seq_and_ends_at_its_bound_of_entries
            entries_come_in_the_order_of_the_slots_asked
            the_last_entry_has_the_highest_seq
            a_log_holds_no_entries_of_others
            // --- creation and membership
            a_creation_is_seen_in_all_its_parts
            a_second_creation_changes_nothing
            a_creation_does_not_take_the_slot_of_an_entry
            of_many_creations_at_once_exactly_one_is_new
            a_user_creates_so_many_conversations_on_a_day
            a_user_adds_so_many_users_on_a_day
            groups_of_a_user_are_counted
            a_settled_row_is_the_row_when_nothing_is_in_the_making
            strangers_and_unknown_conversations_have_no_row
            all_members_come_in_the_order_of_their_ids
            an_inbox_comes_in_pages_in_the_order_of_its_conversations
            // --- changes of groups
            a_member_comes_goes_and_comes_again
            a_role_changes_in_both_rows_and_leaves_the_cursors
            a_change_whose_slot_is_taken_changes_no_row
            a_change_of_a_row_that_is_another_stores_nothing
            of_changes_and_messages_at_once_exactly_one_is_stored
            forty_join_and_twenty_leave_in_one_step
            descriptions_come_in_the_order_asked
            // --- changes of messages
            an_edit_changes_its_message_and_nothing_else
            a_deletion_takes_all_words_and_closes_the_reactions
            reactions_are_counted_and_known_by_whom
            an_amendment_of_what_is_another_by_now_stores_nothing
            an_amendment_whose_slot_is_taken_changes_nothing
            of_amendments_and_messages_at_once_exactly_one_is_stored
            // --- the deployment's item
            a_deployment_is_founded_once_and_everybody_is_answered_the_one_that_stands
            // --- cursors
            cursors_only_move_forward_and_answer_what_they_were
            each_cursor_moves_on_its_own
            positions_of_other_devices_are_dropped_as_they_were_named
            neighbours_among_the_highest_positions_are_told_apart
            a_device_moves_no_cursor_of_others
            cursors_moved_at_once_end_at_the_highest
            a_cursor_of_no_member_is_not_moved_and_no_row_is_made
            more_than_a_hundred_rows_come_in_the_order_asked
            preferences_are_set_field_by_field_and_make_no_row
            a_mention_is_noted_if_it_is_the_last_and_makes_no_row
            a_read_in_private_leaves_what_others_are_told
            // --- heads
            a_head_only_rises_and_answers_what_it_was
            heads_raised_at_once_end_at_the_highest
            a_head_is_not_raised_where_there_is_no_conversation
            more_than_a_hundred_heads_come_in_the_order_asked
            // --- sessions
            a_registered_session_is_answered_with_all_others_of_its_user
            a_session_replaces_the_one_of_its_connection
            of_sessions_registered_at_once_each_two_see_each_other
            a_removal_takes_the_named_connections_only
            a_connection_is_noted_when_it_is_admitted_and_becomes_a_session_by_hello
            hellos_are_counted_by_the_minute
            a_gate_that_a_wrong_clock_has_shut_admits
            a_gate_is_shut_once_and_admits_nobody_until_its_time
            what_a_user_spends_adds_up_in_each_window
            one_session_is_found_by_its_connection
            a_session_is_prolonged_and_never_shortened
            a_session_that_is_not_there_is_not_prolonged_and_not_made
            a_removal_for_an_unknown_user_creates_nothing
            more_than_a_hundred_users_are_asked_at_once
            // --- tickets
            a_ticket_is_taken_by_its_device_in_time_and_once
            of_all_who_take_a_ticket_at_once_one_has_it
        }
    };
}

/// Reads everything.
const ALL: ReadBound = ReadBound::entries(usize::MAX);

/// A name that nothing in the backend has: facts may meet what earlier runs left.
fn fresh(what: &str) -> String {
    // The keys of a `RandomState` come from the operating system, and are others for each.
    format!("{what}-{:016x}", RandomState::new().hash_one(what))
}

fn fresh_conversation() -> ConversationId {
    builders::conversation(&fresh("d"))
}

/// A user whose name could break a key: separators, an escape, NUL, and not ASCII.
fn fresh_user() -> UserId {
    builders::user(&fresh("auth0|a#b/%25\u{0}ü"))
}

/// Entry `number`, which came a second after the one before it.
fn head(number: u64) -> Head {
    Head { position: builders::position(number), count: number - 1, time: builders::start().plus_ms(1000 * number), group: None }
}
