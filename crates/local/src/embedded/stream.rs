//! The stream of a table: the records that dynoxide writes in the same transaction as the change that they tell of.
//!
//! Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>. dynoxide never removes a record, and looks
//! through all of them for the number of the next one, so a write would cost more with every write before it. Hence the records are read
//! past its API, in its file: with an index of their numbers, and whoever has handled a record removes it. One shard; not modelled: the
//! 24 hours after which `DynamoDB` removes a record that nobody has handled.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

/// The records of dynoxide 3.2.0, in the order of their numbers, which it keeps as text.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS stream_records_by_number ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";

/// dynoxide's own patience with another writer of its file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The records of one table that nobody has handled.
pub struct Stream {
    connection: Mutex<Connection>,
    table: String,
}

/// One change of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRecord {
    /// Its number, by which records are ordered.
    pub number: i64,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event: String,
    /// The changed item's key, in the JSON of the API.
    pub keys: Value,
    /// When, in seconds since 1970.
    pub created_s: i64,
    /// Its id, of no other record.
    pub id: String,
}

impl Stream {
    /// Of a table with a stream, in dynoxide's file.
    pub(super) fn open(file: &Path, table: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(INDEX)?;
        Ok(Self { connection: Mutex::new(connection), table: table.to_owned() })
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// How many there are; it counts no further than to `max`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self, max: usize) -> rusqlite::Result<usize> {
        let counting = "SELECT count(*) FROM (SELECT 1 FROM _stream_records WHERE table_name = ? LIMIT ?)";
        let counted: i64 = self.connection().prepare_cached(counting)?.query_row(params![self.table, limit(max)], |row| row.get(0))?;
        Ok(usize::try_from(counted).unwrap_or(max))
    }

    /// The first `max`, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, max: usize) -> rusqlite::Result<Vec<StreamRecord>> {
        let reading = "SELECT CAST(sequence_number AS INTEGER), event_name, keys_json, created_at, event_id FROM _stream_records
                       WHERE table_name = ? ORDER BY CAST(sequence_number AS INTEGER) LIMIT ?";
        let connection = self.connection();
        let mut reading = connection.prepare_cached(reading)?;
        let records = reading.query_map(params![self.table, limit(max)], record)?;
        records.collect()
    }

    /// Removes those up to this number: they are handled.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&self, number: i64) -> rusqlite::Result<()> {
        let forgetting = "DELETE FROM _stream_records WHERE table_name = ? AND CAST(sequence_number AS INTEGER) <= ?";
        self.connection().prepare_cached(forgetting)?.execute(params![self.table, number])?;
        Ok(())
    }

    /// A statement that a panic interrupted was rolled back, so the connection can be used.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

fn record(row: &Row<'_>) -> rusqlite::Result<StreamRecord> {
    let keys: String = row.get(2)?;
    // dynoxide writes JSON. What were none would fail the function that is given it, and end in the on-failure queue.
    let keys = serde_json::from_str(&keys).unwrap_or_else(|_| json!(keys));
    Ok(StreamRecord { number: row.get(0)?, event: row.get(1)?, keys, created_s: row.get(3)?, id: row.get(4)? })
}
