//! What a device keeps over restarts: its id, its conversations and their entries, and the outbox, in one `SQLite` file.
//!
//! [`Store::apply`] is one transaction: after a crash all of a batch is there or nothing. It returns when the batch survives a loss of
//! power: WAL with `synchronous=FULL` syncs the log at each commit ("PRAGMA synchronous" of `SQLite`'s documentation; `NORMAL` would lose
//! the last commits). That is what lets a device acknowledge an entry, and send a message, behind a commit.
//!
//! The file belongs to one user and, while it is open, to one process: two would each take the other's entries for their own. It is
//! readable by its owner only and not encrypted.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use chatlane_protocol::frames::encode;
use chatlane_protocol::{ConversationId, DeviceId, Entry, Seq, UserId};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use chatlane_session::{Change, Restored};

mod row;

/// Ours: "`CHLN`". Distinguishes the file from any other `SQLite` file ("PRAGMA `application_id`").
const APPLICATION_ID: i32 = 0x4348_4c4e;

/// The tables of version 1. What later versions have changed is in [`MIGRATIONS`], also for a new file: there is one way to make them.
const SCHEMA: &str = "
CREATE TABLE device (only INTEGER PRIMARY KEY CHECK (only = 1), device TEXT NOT NULL, user TEXT NOT NULL) STRICT;
-- Positions are EPOCH:SEQ.
CREATE TABLE conversations (
    conversation TEXT PRIMARY KEY, peer TEXT, kept_after TEXT NOT NULL, have TEXT NOT NULL, have_count INTEGER NOT NULL,
    head TEXT NOT NULL, head_count INTEGER NOT NULL, acked TEXT NOT NULL, read TEXT NOT NULL, read_count INTEGER NOT NULL,
    read_pending INTEGER NOT NULL, others TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- An entry is the text of the wire.
CREATE TABLE entries (conversation TEXT NOT NULL, seq INTEGER NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (conversation, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    conversation TEXT NOT NULL, client_message_id TEXT NOT NULL, written INTEGER NOT NULL, anchor TEXT NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL, refusal TEXT, PRIMARY KEY (conversation, client_message_id)
) STRICT, WITHOUT ROWID;
";

/// From version 1 to 2, from 2 to 3, and so on. Never edited: files of every version are about.
const MIGRATIONS: [&str; 4] = [
    // Whether the server has told with whom a conversation is, or that it is with nobody in particular.
    "ALTER TABLE conversations ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
     UPDATE conversations SET told = 1 WHERE peer IS NOT NULL;",
    // Messages to people with whom there is no conversation yet.
    "CREATE TABLE held (
        client_message_id TEXT PRIMARY KEY, written INTEGER NOT NULL, peer TEXT NOT NULL, opening TEXT NOT NULL, body TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;",
    // Groups, and what changes messages; the outbox holds more than messages. What versions before have stored of it as it came is folded
    // ([`fold_all`]).
    r#"ALTER TABLE conversations ADD COLUMN amended INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE conversations ADD COLUMN role TEXT;
     ALTER TABLE conversations ADD COLUMN marks TEXT;
     ALTER TABLE conversations ADD COLUMN title TEXT;
     ALTER TABLE conversations ADD COLUMN titled INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE conversations ADD COLUMN member_at TEXT NOT NULL DEFAULT '0:0';
     ALTER TABLE conversations ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE outbox RENAME COLUMN body TO draft;
     UPDATE outbox SET draft = '{"kind":"message","body":' || draft || '}';
     CREATE TABLE groups (
        client_message_id TEXT PRIMARY KEY, written INTEGER NOT NULL, users TEXT NOT NULL, settings TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     -- Of an edit, a deletion, a reaction: which entry it is about.
     ALTER TABLE entries ADD COLUMN about INTEGER;
     UPDATE entries SET about = json_extract(entry, '$.target')
        WHERE json_extract(entry, '$.kind') IN ('edit', 'deletion', 'reaction') AND json_type(entry, '$.target') = 'integer';
     UPDATE conversations SET amended = coalesce(
        (SELECT max(seq) FROM entries WHERE entries.conversation = conversations.conversation AND about NOT NULL), 0);
     CREATE INDEX entries_about ON entries (conversation, about) WHERE about NOT NULL;"#,
    // What the user prefers and wishes, what mentions them, and whether they have read in private.
    "ALTER TABLE conversations ADD COLUMN read_private INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE conversations ADD COLUMN mentioned INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE conversations ADD COLUMN prefs TEXT;
     ALTER TABLE conversations ADD COLUMN wished TEXT;",
];

/// The version that this program writes: the last that there is.
const SCHEMA_VERSION: i32 = 5;

/// From this version on the entries are folded as they are stored.
const FOLDED: i32 = 4;

const _: () = assert!(MIGRATIONS.len() + 1 == SCHEMA_VERSION as usize);

/// Why the local store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its folder or file cannot be made or opened.
    #[error("cannot open the local store {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process, or another store of this one, has it.
    #[error("the local store {} is in use", path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a local store of Chatlane", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error("the local store has version {found}, this program knows {SCHEMA_VERSION}")]
    Newer {
        /// Its version.
        found: i32,
    },
    /// It holds somebody else's messages.
    #[error("the local store is another user's")]
    OtherUser,
    /// It holds what no version of this program writes. Never shows the text.
    #[error("the local store is damaged: {0}")]
    Damaged(&'static str),
    /// A read or a write failed, of a full disk for example. Nothing of a write is stored.
    #[error("the local store fails")]
    Sqlite(#[from] rusqlite::Error),
}

/// One user's messages on one device.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    device: DeviceId,
    user: UserId,
}

impl Store {
    /// Opens the file at `path`, with its folder, making both for `user` if there is none. It is this store's alone until it is dropped.
    pub fn open(path: &Path, user: &UserId) -> Result<Self, StoreError> {
        make_file(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|mut connection| {
            // Who has the file keeps it: waiting for it would not help.
            connection.busy_timeout(std::time::Duration::ZERO)?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // What was deleted is overwritten.
            connection.pragma_update(None, "secure_delete", "ON")?;
            // In this locking mode the first write takes the file until the connection is closed ("PRAGMA locking_mode").
            connection.transaction_with_behavior(TransactionBehavior::Exclusive)?.commit()?;
            Ok(connection)
        });
        let connection = opened.map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.to_owned() },
            Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign { path: path.to_owned() },
            Some(rusqlite::ErrorCode::CannotOpen) => StoreError::Open { path: path.to_owned(), source: io::Error::other(error) },
            _ => StoreError::Sqlite(error),
        })?;
        Self::of(connection, user, path)
    }

    /// A store without a file, which forgets everything when it is dropped. For tests and for devices that keep nothing.
    pub fn in_memory(user: &UserId) -> Result<Self, StoreError> {
        Self::of(Connection::open_in_memory()?, user, Path::new(":memory:"))
    }

    fn of(mut connection: Connection, user: &UserId, path: &Path) -> Result<Self, StoreError> {
        let transaction = connection.transaction()?;
        let device = match prepare(&transaction, path, user)? {
            Some((_, owner)) if owner != user.as_str() => return Err(StoreError::OtherUser),
            Some((device, _)) => DeviceId::new(&device).map_err(|_| StoreError::Damaged("the device"))?,
            None => {
                let device = DeviceId::from(uuid::Uuid::new_v4());
                let insert = "INSERT INTO device (only, device, user) VALUES (1, ?1, ?2)";
                transaction.execute(insert, params![device.to_string(), user.as_str()])?;
                device
            }
        };
        transaction.commit()?;
        Ok(Self { connection, device, user: user.clone() })
    }

    /// This installation: made with the store, the same for ever.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Whose store this is.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// The file, if the store has one.
    pub fn path(&self) -> Option<&Path> {
        self.connection.path().filter(|path| !path.is_empty()).map(Path::new)
    }

    /// Makes all of these changes, in their order, or none. They survive a crash of the machine when this returns.
    pub fn apply<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            make(&transaction, change, &self.user)?;
        }
        Ok(transaction.commit()?)
    }

    /// What a session goes on with: all conversations in the order of their ids, the outbox in the order of writing.
    pub fn restore(&self) -> Result<Restored, StoreError> {
        let (conversations, outbox) = (row::conversations(&self.connection)?, row::outbox(&self.connection)?);
        Ok(Restored { conversations, outbox, held: row::held(&self.connection)?, groups: row::groups(&self.connection)? })
    }

    /// The last `limit` entries that the device has below `before` (without: of all), ascending.
    pub fn entries(&self, conversation: &ConversationId, before: Option<Seq>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let query = "SELECT entry FROM entries WHERE conversation = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
        let mut statement = self.connection.prepare_cached(query)?;
        let before = row::integer(before.map_or(u64::MAX, Seq::get));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let texts = statement.query_map(params![conversation.as_str(), before, limit], |row| row.get::<_, String>(0))?;
        let mut entries = texts.map(|text| entry(&text?)).collect::<Result<Vec<Entry>, StoreError>>()?;
        entries.reverse();
        Ok(entries)
    }
}

/// Makes the file, for its owner only; `SQLite` gives its other files the same rights. An existing file is not even opened: closing it
/// again would end the locks that this process has on it (POSIX, `fcntl`).
fn make_file(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Makes the tables if there are none, and brings those of an earlier version forward; answers the device and its user, if there are. All in
/// the caller's transaction: a file is of one version or of the other, also after a crash.
fn prepare(transaction: &Transaction<'_>, path: &Path, me: &UserId) -> Result<Option<(String, String)>, StoreError> {
    let pragma = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version = match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if tables == 0 => {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            1
        }
        (APPLICATION_ID, found) if found > SCHEMA_VERSION => return Err(StoreError::Newer { found }),
        (APPLICATION_ID, found @ 1..) => found,
        _ => return Err(StoreError::Foreign { path: path.to_owned() }),
    };
    for (to, step) in (2..).zip(MIGRATIONS).filter(|(to, _)| *to > version) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", to)?;
    }
    if version < FOLDED {
        fold_all(transaction, me)?;
    }
    Ok(transaction.query_row("SELECT device, user FROM device", [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Applies what versions before have stored, and did not know, to the messages that it is about.
fn fold_all(transaction: &Transaction<'_>, me: &UserId) -> Result<(), StoreError> {
    let mut select = transaction.prepare("SELECT DISTINCT conversation, about FROM entries WHERE about NOT NULL")?;
    let about = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?.collect::<Result<Vec<_>, _>>()?;
    about.into_iter().try_for_each(|(conversation, seq)| fold(transaction, &conversation, seq, me))
}

/// Brings an entry and what is stored about it into agreement.
fn fold(transaction: &Transaction<'_>, conversation: &str, seq: i64, me: &UserId) -> Result<(), StoreError> {
    let read = |query: &str| -> Result<Vec<Entry>, StoreError> {
        let mut select = transaction.prepare_cached(query)?;
        let texts = select.query_map(params![conversation, seq], |row| row.get::<_, String>(0))?;
        texts.map(|text| entry(&text?)).collect()
    };
    let mut about = read("SELECT entry FROM entries WHERE conversation = ?1 AND about = ?2 ORDER BY seq")?;
    if about.is_empty() {
        return Ok(());
    }
    let mut target = read("SELECT entry FROM entries WHERE conversation = ?1 AND seq = ?2")?.pop();
    let before: Vec<_> = target.iter().chain(&about).cloned().collect();
    chatlane_session::fold(target.as_mut(), &mut about, me);
    let changed = target.iter().chain(&about).zip(&before).filter(|(after, before)| after != before);
    changed.into_iter().try_for_each(|(entry, _)| put_entry(transaction, conversation, entry))
}

fn put_entry(transaction: &Transaction<'_>, conversation: &str, entry: &Entry) -> Result<(), StoreError> {
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO entries (conversation, seq, entry, about) VALUES (?1, ?2, ?3, ?4)")?;
    let about = chatlane_session::target(entry).map(|seq| row::integer(seq.get()));
    insert.execute(params![conversation, row::integer(entry.position.seq.get()), encode(entry), about])?;
    Ok(())
}

fn entry(text: &str) -> Result<Entry, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged("an entry"))
}

fn make(transaction: &Transaction<'_>, change: &Change, me: &UserId) -> Result<(), StoreError> {
    match change {
        Change::Conversation(conversation) => row::put_conversation(transaction, conversation)?,
        Change::Entries { conversation, entries } => {
            let mut touched = BTreeSet::new();
            for entry in entries {
                put_entry(transaction, conversation.as_str(), entry)?;
                touched.insert(entry.position.seq);
                touched.extend(chatlane_session::target(entry));
            }
            for seq in touched {
                fold(transaction, conversation.as_str(), row::integer(seq.get()), me)?;
            }
        }
        Change::DropBeyond { conversation, position } => {
            let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE conversation = ?1 AND seq > ?2")?;
            delete.execute(params![conversation.as_str(), row::integer(position.seq.get())])?;
        }
        Change::DropAll(conversation) => {
            transaction.prepare_cached("DELETE FROM entries WHERE conversation = ?1")?.execute([conversation.as_str()])?;
        }
        Change::Held(message) => row::put_held(transaction, message)?,
        Change::HeldDone(id) => {
            transaction.prepare_cached("DELETE FROM held WHERE client_message_id = ?1")?.execute([id.as_str()])?;
        }
        Change::Group(group) => row::put_group(transaction, group)?,
        Change::GroupDone(id) => {
            transaction.prepare_cached("DELETE FROM groups WHERE client_message_id = ?1")?.execute([id.as_str()])?;
        }
        Change::Outbox(message) => row::put_outbox(transaction, message)?,
        Change::OutboxDone { conversation, client_message_id } => {
            let mut delete = transaction.prepare_cached("DELETE FROM outbox WHERE conversation = ?1 AND client_message_id = ?2")?;
            delete.execute([conversation.as_str(), client_message_id.as_str()])?;
        }
    }
    Ok(())
}
