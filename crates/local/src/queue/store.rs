//! The messages in their `SQLite` file. Every method is one transaction; times are arguments.
//!
//! A call blocks for tens of microseconds only (no fsync per change, see [`Store::open`]), so async code makes it directly.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, Row, named_params, params};

use super::message::{NewMessage, Received};
use super::{Depth, OpenError, QueueSettings, millis};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS messages (
        id                   INTEGER PRIMARY KEY AUTOINCREMENT,
        queue                TEXT    NOT NULL,
        message_id           TEXT    NOT NULL UNIQUE,
        body                 TEXT    NOT NULL,
        attributes           TEXT    NOT NULL,           -- '{}'; files of earlier versions have the column
        sender               TEXT    NOT NULL,
        sent_at_ms           INTEGER NOT NULL,
        visible_at_ms        INTEGER NOT NULL,
        receive_count        INTEGER NOT NULL DEFAULT 0,
        first_received_at_ms INTEGER,
        receipt              TEXT UNIQUE                 -- of the latest receive
    ) STRICT;
    CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible_at_ms, id);
";

pub(super) struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let open = || {
            let connection = Connection::open(path)?;
            // Nobody else may write this file: two runners on one folder would each deliver every message. In WAL mode a committed change
            // survives the death of the process without an fsync; SQLite syncs at checkpoints.
            connection.busy_timeout(std::time::Duration::ZERO)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Self { connection: Mutex::new(connection) }),
            Err(error) if is_busy(&error) => Err(OpenError::InUse),
            Err(error) => Err(OpenError::File(error)),
        }
    }

    /// Adds a message.
    pub(super) fn send(&self, queue: &str, now_ms: i64, message: &NewMessage) -> rusqlite::Result<()> {
        self.connection()
            .prepare_cached(
                "INSERT INTO messages (queue, message_id, body, attributes, sender, sent_at_ms, visible_at_ms)
                 VALUES (?, ?, ?, '{}', ?, ?, ?)",
            )?
            .execute(params![queue, message.id, message.body, message.sender, now_ms, now_ms + message.delay_ms])?;
        Ok(())
    }

    /// Hides up to `max` visible messages and returns them with new receipts, the ones visible longest first. Those that were received too
    /// often move to the dead-letter queue instead; also says whether any did.
    pub(super) fn receive(&self, settings: &QueueSettings, now_ms: i64, max: i64) -> rusqlite::Result<(Vec<Received>, bool)> {
        let queue = &settings.name;
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let mut moved = 0;
        if let Some(dead_letter_queue) = &settings.dead_letter_queue {
            moved = transaction
                .prepare_cached(
                    "UPDATE messages SET queue = :dead_letter_queue, visible_at_ms = :now, receive_count = 0,
                                         first_received_at_ms = NULL, receipt = NULL
                     WHERE queue = :queue AND visible_at_ms <= :now AND receive_count >= :max_receive_count",
                )?
                .execute(named_params! {
                    ":dead_letter_queue": dead_letter_queue,
                    ":queue": queue,
                    ":now": now_ms,
                    ":max_receive_count": settings.max_receive_count,
                })?;
        }
        let ids: Vec<i64> = transaction
            .prepare_cached("SELECT id FROM messages WHERE queue = ? AND visible_at_ms <= ? ORDER BY visible_at_ms, id LIMIT ?")?
            .query_map(params![queue, now_ms, max], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let visible_at_ms = now_ms + millis(settings.visibility_timeout);
        let mut received = Vec::with_capacity(ids.len());
        for id in ids {
            let row = transaction
                .prepare_cached(
                    "UPDATE messages SET visible_at_ms = ?, receive_count = receive_count + 1, receipt = ?,
                                         first_received_at_ms = coalesce(first_received_at_ms, ?)
                     WHERE id = ? RETURNING *",
                )?
                .query_row(params![visible_at_ms, uuid::Uuid::new_v4().to_string(), now_ms, id], read)?;
            received.push(row);
        }
        transaction.commit()?;
        Ok((received, moved > 0))
    }

    /// Deletes the messages that were last received under these receipts. Like SQS, it ignores receipts that fit no message.
    pub(super) fn delete<'r>(&self, queue: &str, receipts: impl IntoIterator<Item = &'r str>) -> rusqlite::Result<()> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for receipt in receipts {
            transaction.prepare_cached("DELETE FROM messages WHERE queue = ? AND receipt = ?")?.execute(params![queue, receipt])?;
        }
        transaction.commit()
    }

    pub(super) fn depth(&self, queue: &str, now_ms: i64) -> rusqlite::Result<Depth> {
        self.connection()
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE visible_at_ms <= :now),
                        count(*) FILTER (WHERE visible_at_ms > :now AND receipt IS NOT NULL),
                        count(*) FILTER (WHERE visible_at_ms > :now AND receipt IS NULL)
                 FROM messages WHERE queue = :queue",
            )?
            .query_row(named_params! { ":queue": queue, ":now": now_ms }, |row| {
                Ok(Depth { visible: row.get(0)?, in_flight: row.get(1)?, delayed: row.get(2)? })
            })
    }

    /// When the first of the messages becomes visible, or did: one may have since the receive that did not find it.
    pub(super) fn next_visible_at(&self, queue: &str) -> rusqlite::Result<Option<i64>> {
        self.connection().prepare_cached("SELECT min(visible_at_ms) FROM messages WHERE queue = ?")?.query_row([queue], |row| row.get(0))
    }

    /// A transaction that a panic interrupted was rolled back, so the connection can be used.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the file behind the queue's back.
    #[cfg(test)]
    pub(super) fn execute(&self, sql: &str) {
        self.connection().execute_batch(sql).expect("the table is there");
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Received> {
    Ok(Received {
        id: row.get("message_id")?,
        receipt: row.get("receipt")?,
        body: row.get("body")?,
        sender: row.get("sender")?,
        sent_at_ms: row.get("sent_at_ms")?,
        receive_count: row.get("receive_count")?,
        first_received_at_ms: row.get("first_received_at_ms")?,
    })
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
