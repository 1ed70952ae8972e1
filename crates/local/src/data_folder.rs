//! The folder for everything that survives a restart. One runner at a time uses it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// The data folder if no other is named.
pub const DATA: &str = ".chatlane";

const LOCK: &str = "lock";
const PLACES: &str = "places.json";
const DYNAMODB: &str = "dynamodb.sqlite";
const QUEUE: &str = "queue.sqlite";

/// A data folder, locked until this is dropped or the process dies.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Locks the folder and makes it if there is none. `fresh` deletes the tables and queues of a former run and no other file.
    ///
    /// # Errors
    /// The folder cannot be made, or another runner uses it.
    pub fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        make(path).with_context(|| format!("cannot make the data folder {}", path.display()))?;
        let private = |name: &str| private(&path.join(name)).with_context(|| format!("cannot write to the data folder {}", path.display()));
        let lock = private(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another Chatlane has the data folder {}: stop it, or choose another one with --data", path.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        if fresh {
            for name in [DYNAMODB, QUEUE] {
                for suffix in ["", "-wal", "-shm"] {
                    let file = folder.path.join(format!("{name}{suffix}"));
                    match fs::remove_file(&file) {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(error).with_context(|| format!("cannot delete {}", file.display()));
                        }
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
        // What SQLite makes beside them has their mode.
        for name in [DYNAMODB, QUEUE] {
            private(name)?;
        }
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the embedded tables.
    pub fn dynamodb(&self) -> PathBuf {
        self.path.join(DYNAMODB)
    }

    /// The file of the embedded queues.
    pub fn queue(&self) -> PathBuf {
        self.path.join(QUEUE)
    }
}

/// Where the stack that uses the folder listens, for tools.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Places {
    /// Its `DynamoDB`.
    pub dynamodb: String,
    /// Its `@connections`, with the stage.
    pub connections: String,
}

impl Places {
    /// Of the stack in this folder.
    ///
    /// # Errors
    /// There is none.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(folder.join(PLACES));
        let none = || {
            format!("no Chatlane has used {}: start one with cargo run -p chatlane-local, or name its folder by --data", folder.display())
        };
        Ok(serde_json::from_str(&text.with_context(none)?)?)
    }

    /// Writes it down; there until the next stack of this folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &DataFolder) -> anyhow::Result<()> {
        private(&folder.path.join(PLACES))?;
        Ok(fs::write(folder.path.join(PLACES), serde_json::to_string(self)?)?)
    }
}

/// Opens a file, or makes an empty one, for its owner alone.
fn private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// For its owner alone: it holds what people wrote. One that is there already keeps its mode.
fn make(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(path)
}

#[cfg(test)]
mod tests {
    use chatlane_tests_support::Folder;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_its_owners_alone() {
        let folder = Folder::new();
        let path = folder.file("data");
        let held = DataFolder::open(&path, false).unwrap();
        assert!(Places::read(&path).unwrap_err().to_string().starts_with("no Chatlane has used"));
        let places = Places { dynamodb: String::new(), connections: String::new() };
        places.write(&held).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
        for name in [LOCK, DYNAMODB, QUEUE, PLACES] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path.join(name)).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_could_read_are_their_owners_alone_from_then_on() {
        let folder = Folder::new();
        let path = folder.file("data");
        fs::create_dir(&path).unwrap();
        fs::write(path.join(DYNAMODB), "").unwrap();
        let _held = DataFolder::open(&path, false).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path.join(DYNAMODB)).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_in_use_is_refused_with_what_to_do() {
        let folder = Folder::new();
        let path = folder.file("data");
        let held = DataFolder::open(&path, false).unwrap();
        let refused = DataFolder::open(&path, false).unwrap_err().to_string();
        assert!(refused.contains("--data"), "{refused}");
        drop(held);
        assert!(DataFolder::open(&path, false).is_ok());
    }

    #[test]
    fn fresh_forgets_our_files_and_keeps_foreign_ones() {
        let data = Folder::new();
        for name in ["dynamodb.sqlite", "queue.sqlite-wal", "letter.txt"] {
            fs::write(data.file(name), "x").unwrap();
        }
        let folder = DataFolder::open(data.path(), true).unwrap();
        assert!(fs::read(folder.dynamodb()).unwrap().is_empty() && !data.file("queue.sqlite-wal").exists());
        assert!(data.file("letter.txt").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = Folder::new();
        let path = folder.file("a file");
        fs::write(&path, "a file").unwrap();
        assert!(DataFolder::open(&path, false).unwrap_err().to_string().contains(&*path.to_string_lossy()));
    }
}
