//! For tests: what a file's first table says of its item, beside what its code writes and reads.

use std::collections::BTreeSet;
use std::fmt::Debug;

use chatlane_chat::ports::Failure;

use crate::items::Item;

/// The rows of the table in the file's first lines name exactly the attributes that these items have. A name of which only the start is
/// fixed (`d:<device>`) stands for all of its kind.
pub fn is_documented(source: &str, items: impl IntoIterator<Item = Item>) {
    let rows = source.lines().take_while(|line| line.starts_with("//!")).filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(ToOwned::to_owned).collect();
    let written = items.into_iter().flat_map(Item::into_keys).map(|name| match name.split_once(':') {
        Some((start, end)) if !end.starts_with('<') => {
            let of_start = documented.iter().find(|documented| documented.starts_with(&format!("{start}:<")));
            of_start.cloned().unwrap_or(name)
        }
        _ => name,
    });
    let written: BTreeSet<String> = written.collect();
    assert_eq!(documented, written, "left: the table in the file's first lines; right: what is written");
}

/// Without one of its attributes the item is refused by that name, except for these attributes.
pub fn is_needed<T: Debug>(item: &Item, except: &[&str], read: impl Fn(&Item) -> Result<T, Failure>) {
    for name in item.keys() {
        let mut without = item.clone();
        without.remove(name);
        match read(&without) {
            Ok(value) => assert!(except.contains(&name.as_str()), "without `{name}`: {value:?}"),
            Err(refused) => {
                assert!(matches!(refused, Failure::Unreadable { .. }), "corrupt, and no outage: {refused}");
                assert!(!except.contains(&name.as_str()), "without `{name}`: {refused}");
                assert!(refused.to_string().contains(&format!("attribute `{name}` is missing")), "without `{name}`: {refused}");
            }
        }
    }
}
