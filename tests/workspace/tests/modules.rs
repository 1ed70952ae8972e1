//! Modules of a package import each other without a cycle. Edges between a module and what is below it do not count: a parent declares and
//! uses its children, and children `impl` their parent's type.

use std::collections::BTreeMap;
use std::path::Path;

use cargo_metadata::MetadataCommand;
use chatlane_tests_workspace::modules::Modules;
use chatlane_tests_workspace::root;

/// The libraries and programs of the workspace: package, root file.
fn targets() -> Vec<(String, std::path::PathBuf)> {
    let mut command = MetadataCommand::new();
    let metadata = command.current_dir(root()).no_deps().exec().expect("cargo metadata answers");
    let of_package = |package: cargo_metadata::Package| {
        let production = package.targets.into_iter().filter(|target| target.is_lib() || target.is_bin() || target.is_example());
        production.map(|target| (package.name.to_string(), target.src_path.into_std_path_buf())).collect::<Vec<_>>()
    };
    metadata.packages.into_iter().flat_map(of_package).collect()
}

#[test]
fn modules_import_each_other_without_a_cycle() {
    let here = root();
    let source = |path: &Path| std::fs::read_to_string(here.join(path)).ok();
    let mut found = vec![];
    for (package, path) in targets() {
        let path = path.strip_prefix(&here).expect("packages lie in the workspace");
        found.extend(Modules::read(path, &source).cycles().iter().map(|cycle| format!("{package}: {cycle}")));
    }
    assert!(found.is_empty(), "modules import each other in a circle:\n{}", found.join("\n"));
}

/// The cycles between files of the given texts, the first of which is the root.
fn cycles(files: &[(&str, &str)]) -> Vec<String> {
    let texts: BTreeMap<&Path, &str> = files.iter().map(|(path, text)| (Path::new(path), *text)).collect();
    let modules = Modules::read(Path::new(files[0].0), &|path| texts.get(path).map(ToString::to_string));
    modules.cycles().iter().map(ToString::to_string).collect()
}

#[test]
fn a_cycle_is_found_and_shown_with_its_files() {
    let found = cycles(&[
        ("src/lib.rs", "mod c; mod a; pub mod b;"),
        ("src/a.rs", "use crate::b::X; fn f() { let _ = 'x'; }"),
        ("src/b/mod.rs", "pub mod inner; pub struct X;"),
        ("src/b/inner.rs", "use super::X; use crate::a;"),
        ("src/c.rs", "use super::{b::{self, inner::Y}, a};"),
    ]);
    assert_eq!(found, Vec::<String>::new(), "b does not import a, only its child does");
    let found = cycles(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "fn f() -> crate::b::Y { todo!() }"),
        ("src/b.rs", "use super::{c::{self, Z as W}};"),
        ("src/c.rs", "pub(crate) use crate::{a as other};"),
    ]);
    assert_eq!(found, ["a (src/a.rs) -> b (src/b.rs) -> c (src/c.rs) -> a"]);
}

#[test]
fn parent_and_child_may_use_each_other() {
    let files = [
        ("src/lib.rs", "mod a; use a::b::X; struct Root;"),
        ("src/a.rs", "pub mod b; use self::b::X; use b::Y;"),
        ("src/a/b.rs", "use super::Z; use crate::Root; use crate::a::*;"),
    ];
    assert_eq!(cycles(&files), Vec::<String>::new());
}

#[test]
fn a_reexport_is_followed_to_the_module_that_defines() {
    let with = |user: &str| {
        cycles(&[
            ("src/lib.rs", "mod a; mod b; mod c; pub use a::*; pub use b::{Thing as Renamed, deep};"),
            ("src/a.rs", "use crate::c::F; pub struct A;"),
            ("src/b.rs", "use crate::c::F; pub struct Thing; pub mod deep { pub struct D; }"),
            ("src/c.rs", user),
        ])
    };
    assert_eq!(with("pub struct F; use crate::A;"), ["a (src/a.rs) -> c (src/c.rs) -> a"]);
    assert_eq!(with("pub struct F; use super::Renamed;"), ["b (src/b.rs) -> c (src/c.rs) -> b"]);
    assert_eq!(with("pub struct F; use crate::deep::D;"), Vec::<String>::new(), "deep imports nothing");
    assert_eq!(with("pub struct F; use crate::Unknown;"), Vec::<String>::new(), "the root is above all");
}

#[test]
fn names_that_were_imported_lead_on_and_other_crates_do_not() {
    let with = |user: &str| {
        cycles(&[("src/lib.rs", "mod a; mod b;"), ("src/a.rs", "pub mod deep;"), ("src/a/deep.rs", "use crate::b::B;"), ("src/b.rs", user)])
    };
    let cycle = ["a::deep (src/a/deep.rs) -> b (src/b.rs) -> a::deep"];
    assert_eq!(with("use crate::a; pub struct B; fn f() { a::deep::g::<u8>() }"), cycle);
    assert_eq!(with("use crate::a as x; pub struct B(x::deep::G);"), cycle);
    assert_eq!(with("use other::a; pub struct B; fn f() { a::deep::g() }"), Vec::<String>::new());
    assert_eq!(with("use crate::a; pub struct B; #[cfg(test)] mod tests { use crate::a::deep::G; }"), Vec::<String>::new());
    assert_eq!(with("/// [`crate::a::deep`]\npub struct B; fn f() { g(\"crate::a::deep\") }"), Vec::<String>::new());
}
