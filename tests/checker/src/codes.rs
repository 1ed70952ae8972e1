//! The closed list of error codes, `docs/PROTOCOL.md` §9.

/// After which the same message may still be stored by another attempt, or whose outcome is not known.
const OPEN: [&str; 8] =
    ["rate_limited", "busy", "unavailable", "anchor_stale", "anchor_unknown", "epoch_changed", "token_expired", "resync"];

/// All others: this attempt stored nothing, and the same message will not be stored by another.
const FOR_GOOD: [&str; 14] = [
    "bad_request",
    "unknown_action",
    "upgrade_required",
    "token_refused",
    "not_found",
    "forbidden",
    "too_large",
    "anchor_too_old",
    "members_full",
    "last_owner",
    "no_member",
    "no_message",
    "not_editable",
    "reactions_full",
];

/// Whether the list has it.
pub(crate) fn is_known(code: &str) -> bool {
    OPEN.contains(&code) || FOR_GOOD.contains(&code)
}

/// Whether the refused attempt has stored nothing, and no other will.
pub(crate) fn is_for_good(code: &str) -> bool {
    FOR_GOOD.contains(&code)
}
