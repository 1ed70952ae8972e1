//! What a session does, rule by rule: inputs at given times against what comes out. No socket, no clock, no server.

mod facts_asking;
mod facts_changes;
mod facts_cursors;
mod facts_displacement;
mod facts_entries;
mod facts_greeting;
mod facts_groups;
mod facts_membership;
mod facts_outbox;
mod facts_prefs;
mod facts_read_marks;
mod facts_repairs;
mod facts_restores;
mod facts_rudeness;
mod facts_skips;
mod facts_sockets;
mod facts_store;
mod facts_timers;
mod facts_tokens;
mod made;
mod phone;
mod talk;
