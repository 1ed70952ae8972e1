//! Whom the user talked to last, in a file of its own: the name and a line end, without which it was not written whole.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use chatlane_protocol::UserId;

/// Whom the file names, if there is one that was written whole.
pub(super) fn read(file: &Path) -> Option<UserId> {
    UserId::new(fs::read_to_string(file).ok()?.strip_suffix('\n')?).ok()
}

/// Keeps the name, for the file's owner only.
pub(super) fn write(file: &Path, peer: &UserId) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // It only saves a word of the next command line: a chat does not end for that.
    let _written = options.open(file).and_then(|mut file| file.write_all(format!("{peer}\n").as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_back_and_half_a_name_is_none() {
        let file = std::env::temp_dir().join(format!("chatlane-last-peer-{}", uuid::Uuid::new_v4()));
        assert_eq!(read(&file), None);
        let names = ["carol of the long name", "bob\nby\n"].map(|name| UserId::new(name).unwrap());
        for name in names {
            write(&file, &name);
            assert_eq!(read(&file), Some(name));
        }
        fs::write(&file, "bo").unwrap();
        assert_eq!(read(&file), None);
        fs::remove_file(&file).unwrap();
    }
}
