//! A device of an earlier version is killed while its file is brought forward.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chatlane_client::Store;
use chatlane_protocol::UserId;
use chatlane_session::Restored;
use chatlane_tests_e2e::phone::TOKEN_VARIABLE;
use chatlane_tests_e2e::{Folder, patiently};
use rusqlite::Connection;
use tokio::process::Command;

/// Stops the step of the migration that updates rows, in the middle of its transaction: it writes for ever, far more than stays in memory.
const HOLD: &str = "
    CREATE TABLE ten (n INTEGER);
    INSERT INTO ten VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
    CREATE TABLE filler (filler BLOB);
    CREATE TRIGGER hold BEFORE UPDATE ON conversations BEGIN
        INSERT INTO filler SELECT randomblob(4000) FROM ten a, ten b, ten c, ten d, ten e, ten f, ten g, ten h;
    END;";

const RELEASE: &str = "DROP TRIGGER hold; DROP TABLE filler; DROP TABLE ten;";

fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn version(path: &Path) -> i32 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn brought_forward(path: &Path) -> Restored {
    Store::open(path, &UserId::new("alice").unwrap()).unwrap().restore().unwrap()
}

// holds: K1
#[tokio::test]
async fn a_device_that_is_killed_while_its_file_is_brought_forward_has_all_that_it_had() {
    let folder = Folder::new();
    let (path, untouched) = (folder.file("killed"), folder.file("untouched"));
    for path in [&path, &untouched] {
        sql(path, include_str!("../../../fixtures/generation-0/device.sql"));
    }
    sql(&path, HOLD);
    for _ in 0..3 {
        let mut device = Command::new(env!("CARGO_BIN_EXE_device"));
        let device = device.arg("ws://127.0.0.1:9").arg(&path).arg("alice").env(TOKEN_VARIABLE, "t").kill_on_drop(true);
        let mut device = device.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        patiently("a part of the transaction is in the file", async {
            while std::fs::metadata(&log).map_or(0, |log| log.len()) < 1 << 20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        device.kill().await.unwrap();
        assert_eq!(version(&path), 1);
    }
    sql(&path, RELEASE);
    let before = brought_forward(&untouched);
    assert_eq!((before.conversations.len(), before.outbox.len()), (3, 3));
    assert_eq!(brought_forward(&path), before);
    assert_eq!((version(&path), version(&path) > 1), (version(&untouched), true));
}
