//! Rows of the store to and from those of the session.

use chatlane_protocol::frames::encode;
use chatlane_protocol::{ClientMessageId, ConversationId, Position, Prefs, Refusal, Seq, Title, UserId};
use rusqlite::{Connection, Row, params};

use super::StoreError;
use chatlane_session::{ConversationRow, HeldRow, NewGroup, OutboxRow, OutboxState};

/// What is kept as JSON, if it is there.
macro_rules! json {
    ($row:expr, $column:literal, $what:literal) => {{
        let text = $row.get::<_, Option<String>>($column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| StoreError::Damaged($what))?
    }};
}

/// `SQLite`'s integers have a sign; those of the protocol end at 2⁵³ − 1.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn put_conversation(connection: &Connection, row: &ConversationRow) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO conversations (conversation, peer, kept_after, have, have_count, head, head_count, acked, read,
         read_count, read_pending, others, told, amended, role, marks, title, titled, member_at, ended, read_private, mentioned, prefs,
         wished)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
    )?;
    insert.execute(params![
        row.conversation.as_str(),
        row.with.as_ref().map(UserId::as_str),
        row.from.to_string(),
        row.have.to_string(),
        integer(row.have_count),
        row.head.to_string(),
        integer(row.head_count),
        row.acked.to_string(),
        row.read.to_string(),
        integer(row.read_count),
        row.read_pending,
        encode(&row.others),
        row.told,
        integer(row.amended.get()),
        row.role.as_ref().map(encode),
        row.group.as_ref().map(encode),
        row.title.as_ref().map(Title::as_str),
        integer(row.titled.get()),
        row.member_at.to_string(),
        row.ended,
        row.read_private,
        integer(row.mentioned.get()),
        (row.prefs != Prefs::default()).then(|| encode(&row.prefs)),
        (!row.wished.is_empty()).then(|| encode(&row.wished)),
    ])?;
    Ok(())
}

pub(super) fn conversations(connection: &Connection) -> Result<Vec<ConversationRow>, StoreError> {
    let mut select = connection.prepare(
        "SELECT conversation, peer, kept_after, have, have_count, head, head_count, acked, read, read_count, read_pending, others,
         told, amended, role, marks, title, titled, member_at, ended, read_private, mentioned, prefs, wished
         FROM conversations ORDER BY conversation",
    )?;
    let mut rows = select.query([])?;
    let mut conversations = vec![];
    while let Some(row) = rows.next()? {
        conversations.push(ConversationRow {
            conversation: conversation(row, 0)?,
            with: row.get::<_, Option<String>>(1)?.map(UserId::new).transpose().map_err(|_| StoreError::Damaged("a user"))?,
            from: position(row, 2)?,
            have: position(row, 3)?,
            have_count: count(row, 4)?,
            head: position(row, 5)?,
            head_count: count(row, 6)?,
            acked: position(row, 7)?,
            read: position(row, 8)?,
            read_count: count(row, 9)?,
            read_pending: row.get(10)?,
            others: serde_json::from_str(&row.get::<_, String>(11)?).map_err(|_| StoreError::Damaged("cursors"))?,
            told: row.get(12)?,
            amended: seq(row, 13)?,
            role: json!(row, 14, "a role"),
            group: json!(row, 15, "the marks of a group"),
            title: row.get::<_, Option<String>>(16)?.map(Title::new).transpose().map_err(|_| StoreError::Damaged("a title"))?,
            titled: seq(row, 17)?,
            member_at: position(row, 18)?,
            ended: row.get(19)?,
            read_private: row.get(20)?,
            mentioned: seq(row, 21)?,
            prefs: json!(row, 22, "preferences").unwrap_or_default(),
            wished: json!(row, 23, "wished preferences").unwrap_or_default(),
        });
    }
    Ok(conversations)
}

pub(super) fn put_outbox(connection: &Connection, row: &OutboxRow) -> rusqlite::Result<()> {
    let (state, refusal) = match &row.state {
        OutboxState::Waiting => ("waiting", None),
        OutboxState::Refused(refusal) => ("refused", Some(encode(refusal))),
        OutboxState::Failed(refusal) => ("failed", Some(encode(refusal))),
    };
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO outbox (conversation, client_message_id, written, anchor, draft, state, refusal)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        row.conversation.as_str(),
        row.client_message_id.as_str(),
        integer(row.order),
        row.anchor.to_string(),
        encode(&row.draft),
        state,
        refusal,
    ])?;
    Ok(())
}

pub(super) fn outbox(connection: &Connection) -> Result<Vec<OutboxRow>, StoreError> {
    let mut select = connection
        .prepare("SELECT conversation, client_message_id, written, anchor, draft, state, refusal FROM outbox ORDER BY written")?;
    let mut rows = select.query([])?;
    let mut messages = vec![];
    while let Some(row) = rows.next()? {
        messages.push(OutboxRow {
            conversation: conversation(row, 0)?,
            client_message_id: client_message_id(row, 1)?,
            order: count(row, 2)?,
            anchor: position(row, 3)?,
            draft: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| StoreError::Damaged("a body"))?,
            state: state(&row.get::<_, String>(5)?, row.get::<_, Option<String>>(6)?.as_deref())?,
        });
    }
    Ok(messages)
}

pub(super) fn put_held(connection: &Connection, row: &HeldRow) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO held (client_message_id, written, peer, opening, body) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let (id, opening) = (row.client_message_id.as_str(), row.opening.as_str());
    insert.execute(params![id, integer(row.order), row.user.as_str(), opening, encode(&row.body)])?;
    Ok(())
}

pub(super) fn held(connection: &Connection) -> Result<Vec<HeldRow>, StoreError> {
    let mut select = connection.prepare("SELECT client_message_id, written, peer, opening, body FROM held ORDER BY written")?;
    let mut rows = select.query([])?;
    let mut messages = vec![];
    while let Some(row) = rows.next()? {
        messages.push(HeldRow {
            client_message_id: client_message_id(row, 0)?,
            order: count(row, 1)?,
            user: UserId::new(row.get::<_, String>(2)?).map_err(|_| StoreError::Damaged("a user"))?,
            opening: client_message_id(row, 3)?,
            body: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| StoreError::Damaged("a body"))?,
        });
    }
    Ok(messages)
}

pub(super) fn put_group(connection: &Connection, group: &NewGroup) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO groups (client_message_id, written, users, settings) VALUES (?1, ?2, ?3, ?4)")?;
    let id = group.client_message_id.as_str();
    insert.execute(params![id, integer(group.order), encode(&group.users), encode(&group.settings)])?;
    Ok(())
}

pub(super) fn groups(connection: &Connection) -> Result<Vec<NewGroup>, StoreError> {
    let mut select = connection.prepare("SELECT client_message_id, written, users, settings FROM groups ORDER BY written")?;
    let mut rows = select.query([])?;
    let mut groups = vec![];
    while let Some(row) = rows.next()? {
        groups.push(NewGroup {
            client_message_id: client_message_id(row, 0)?,
            order: count(row, 1)?,
            users: json!(row, 2, "users").ok_or(StoreError::Damaged("users"))?,
            settings: json!(row, 3, "settings").ok_or(StoreError::Damaged("settings"))?,
        });
    }
    Ok(groups)
}

fn client_message_id(row: &Row<'_>, column: usize) -> Result<ClientMessageId, StoreError> {
    ClientMessageId::new(row.get::<_, String>(column)?).map_err(|_| StoreError::Damaged("a client message id"))
}

fn state(state: &str, refusal: Option<&str>) -> Result<OutboxState, StoreError> {
    let refusal = refusal.and_then(|text| serde_json::from_str::<Refusal>(text).ok());
    match (state, refusal) {
        ("waiting", _) => Ok(OutboxState::Waiting),
        ("refused", Some(refusal)) => Ok(OutboxState::Refused(refusal)),
        ("failed", Some(refusal)) => Ok(OutboxState::Failed(refusal)),
        _ => Err(StoreError::Damaged("the state of a message")),
    }
}

fn conversation(row: &Row<'_>, column: usize) -> Result<ConversationId, StoreError> {
    ConversationId::new(row.get::<_, String>(column)?).map_err(|_| StoreError::Damaged("a conversation id"))
}

fn position(row: &Row<'_>, column: usize) -> Result<Position, StoreError> {
    let text: String = row.get(column)?;
    let parsed = text.split_once(':').and_then(|(epoch, seq)| {
        let seq = Seq::try_from(seq.parse::<u64>().ok()?).ok()?;
        Some(Position::new(epoch.parse().ok()?, seq))
    });
    parsed.ok_or(StoreError::Damaged("a position"))
}

fn seq(row: &Row<'_>, column: usize) -> Result<Seq, StoreError> {
    Seq::try_from(count(row, column)?).map_err(|_| StoreError::Damaged("a number"))
}

fn count(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| StoreError::Damaged("a number"))
}
