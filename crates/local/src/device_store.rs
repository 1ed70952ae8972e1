//! Where the terminal chats of this machine keep their devices: `devices/KEY/USER.sqlite` in the stack's data folder. KEY is the id of the
//! issuer's key, which the tokens name. A device belongs to one stack, because no other stack has the conversations that it knows.
//!
//! Two chats of one user at once are two devices: the second one's file ends in `.2.sqlite`, and so on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chatlane_client::Store;
use chatlane_client::store::StoreError;
use chatlane_protocol::{Token, UserId};
use jsonwebtoken::decode_header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const FOLDER: &str = "devices";

/// Devices of one user on this machine at once: as many as Chatlane connects (`CONNECTIONS_PER_USER_MAX`).
const DEVICES_MAX: usize = 16;

/// The first device of `user` that no other process uses, at the stack that issued `token`. It is made if there is none.
///
/// # Errors
/// The token names no key, or the file cannot be used.
pub fn open(data: &Path, token: &Token, user: &UserId) -> anyhow::Result<Store> {
    let key = decode_header(token.as_str()).context("what answers is not Chatlane: it gave no token")?.kid.unwrap_or_default();
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if key.is_empty() || key.len() > 64 || !key.bytes().all(named) {
        bail!("what answers is not Chatlane: its token names no key");
    }
    first_free(&data.join(FOLDER).join(key), user, |_| true)?.with_context(|| format!("{DEVICES_MAX} chats of {user} run already"))
}

/// The device of `user` that was used last, if there is one: for a start while no stack answers.
///
/// # Errors
/// A folder cannot be read, or the file cannot be used.
pub fn last(data: &Path, user: &UserId) -> anyhow::Result<Option<Store>> {
    let folder = data.join(FOLDER);
    let stacks = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let modified = |stack: &Path| fs::metadata(file(stack, user, 1)).and_then(|file| file.modified()).ok();
    let mut stacks: Vec<(SystemTime, PathBuf)> =
        stacks.filter_map(|stack| Some(stack.ok()?.path())).filter_map(|stack| Some((modified(&stack)?, stack))).collect();
    stacks.sort();
    match stacks.pop() {
        Some((_, stack)) => first_free(&stack, user, Path::exists),
        None => Ok(None),
    }
}

/// Deletes all devices of the data folder, with the conversations that they know.
///
/// # Errors
/// The folder cannot be deleted.
pub fn forget(data: &Path) -> anyhow::Result<()> {
    let folder = data.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("cannot delete {}", folder.display())),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn first_free(stack: &Path, user: &UserId, may_open: impl Fn(&Path) -> bool) -> anyhow::Result<Option<Store>> {
    for number in 1..=DEVICES_MAX {
        let path = file(stack, user, number);
        if may_open(&path) {
            match Store::open(&path, user) {
                Err(StoreError::InUse { .. }) => {}
                opened => return opened.map(Some).with_context(|| format!("cannot use {}", path.display())),
            }
        }
    }
    Ok(None)
}

fn file(stack: &Path, user: &UserId, number: usize) -> PathBuf {
    let encoded = utf8_percent_encode(user.as_str(), NON_ALPHANUMERIC).to_string();
    // A file's name has at most 255 bytes; an escaped user may have 384.
    let name = if encoded.len() <= 200 { encoded } else { BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, encoded.as_bytes())) };
    stack.join(if number == 1 { format!("{name}.sqlite") } else { format!("{name}.{number}.sqlite") })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chatlane_tests_support::Folder;

    use super::*;
    use crate::issuer::Issuer;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn token(stack: &Folder) -> Token {
        let issuer = Issuer::open(stack.path()).unwrap();
        Token::new(issuer.token("alice", Duration::from_mins(1), SystemTime::now())).unwrap()
    }

    #[test]
    fn a_user_finds_the_same_device_again_and_another_stack_is_another_device() {
        let (data, other) = (Folder::new(), Folder::new());
        let device = |token: &Token| open(data.path(), token, &user("alice")).unwrap().device();
        let (here, there) = (token(&data), token(&other));
        let first = device(&here);
        assert_eq!(device(&here), first);
        assert_ne!(device(&there), first);
        assert_ne!(open(data.path(), &here, &user("bob")).unwrap().device(), first);
    }

    #[test]
    fn two_chats_at_once_are_two_devices_and_sixteen_are_the_most() {
        let data = Folder::new();
        let token = token(&data);
        let mut open_ones: Vec<Store> = (0..DEVICES_MAX).map(|_| open(data.path(), &token, &user("alice")).unwrap()).collect();
        let refused = open(data.path(), &token, &user("alice")).unwrap_err().to_string();
        assert_eq!(refused, "16 chats of alice run already");
        let first = open_ones.swap_remove(0).device();
        assert_eq!(open(data.path(), &token, &user("alice")).unwrap().device(), first);
    }

    #[test]
    fn while_no_stack_answers_the_device_used_last_is_taken_if_there_is_one() {
        let (data, other) = (Folder::new(), Folder::new());
        assert!(last(data.path(), &user("alice")).unwrap().is_none());
        let (older, newer) = (token(&data), token(&other));
        let [_, newest] = [older, newer].map(|token| open(data.path(), &token, &user("alice")).unwrap().device());
        for stack in fs::read_dir(data.path().join(FOLDER)).unwrap() {
            let file = file(&stack.unwrap().path(), &user("alice"), 1);
            let used = if Store::open(&file, &user("alice")).unwrap().device() == newest { 2 } else { 1 };
            fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(used)).unwrap();
        }
        assert_eq!(last(data.path(), &user("alice")).unwrap().unwrap().device(), newest);
        assert!(last(data.path(), &user("bob")).unwrap().is_none());
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let data = Folder::new();
        forget(data.path()).unwrap();
        let token = token(&data);
        let first = open(data.path(), &token, &user("alice")).unwrap().device();
        forget(data.path()).unwrap();
        assert_ne!(open(data.path(), &token, &user("alice")).unwrap().device(), first);
    }

    #[test]
    fn a_name_that_is_too_long_for_a_file_is_digested() {
        let data = Folder::new();
        let long = user(&"\u{1}".repeat(128));
        assert_eq!(open(data.path(), &token(&data), &long).unwrap().user(), &long);
    }

    #[test]
    fn a_token_that_names_no_key_is_refused() {
        let data = Folder::new();
        for bad in ["no token", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "eyJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLyJ9.e30.c2ln"] {
            let refused = open(data.path(), &Token::new(bad).unwrap(), &user("alice")).unwrap_err().to_string();
            assert!(refused.contains("not Chatlane"), "{bad}: {refused}");
        }
    }
}
