//! `docs/GUARANTEES.md`: its second table is what the tests say of themselves, by a line `// holds: L1, L2` above each.

use std::collections::BTreeSet;

use chatlane_tests_workspace::{read, root, rust_files};

const PAGE: &str = "docs/GUARANTEES.md";
const HEADING: &str = "| | test | file |\n|---|---|---|\n";

/// The cells of the first table's rows: number, promise, enforced by, where.
fn promises(page: &str) -> Vec<[&str; 4]> {
    let rows = page.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("four cells, not {cells:?}"))
    })
    .collect()
}

/// The guarantees, and the name of the function that they stand above.
///
/// # Panics
/// If something other than attributes, comments and the function follows the tag.
fn tags(source: &str) -> Vec<(Vec<&str>, &str)> {
    let mut lines = source.lines().map(str::trim_start);
    let mut found = vec![];
    while let Some(line) = lines.next() {
        let Some(guarantees) = line.strip_prefix("// holds: ") else { continue };
        let below = lines.find(|line| !line.starts_with('#') && !line.starts_with("//")).unwrap_or_default();
        let name = below.split_once("fn ").map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or_default());
        found.push((guarantees.split(", ").collect(), name.unwrap_or_else(|| panic!("`{line}` stands above `{below}`"))));
    }
    found
}

/// The rows of the second table, in the order of the first.
fn held(promises: &[[&str; 4]]) -> String {
    let numbers: Vec<&str> = promises.iter().map(|[number, ..]| *number).collect();
    let mut rows = vec![];
    for file in ["crates", "functions", "tests"].into_iter().flat_map(rust_files) {
        for (guarantees, test) in tags(&read(&file)) {
            for guarantee in guarantees {
                let number = numbers.iter().position(|number| *number == guarantee);
                let number = number.unwrap_or_else(|| panic!("{}: `{test}` holds {guarantee}, which is not in {PAGE}", file.display()));
                rows.push((number, format!("| {guarantee} | `{test}` | `{}` |\n", file.display())));
            }
        }
    }
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn the_table_of_tests_is_what_the_tests_say() {
    let page = read(PAGE);
    let (above, table) = page.split_once(HEADING).expect("the page has the second table");
    let held = held(&promises(above));
    if std::env::var("CHATLANE_UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(root().join(PAGE), format!("{above}{HEADING}{held}")).expect("the page can be written");
        return;
    }
    let (there, made): (BTreeSet<&str>, BTreeSet<&str>) = (table.lines().collect(), held.lines().collect());
    let gone = there.difference(&made).map(|line| format!("- {line}"));
    let come = made.difference(&there).map(|line| format!("+ {line}"));
    let difference: Vec<String> = gone.chain(come).collect();
    assert!(table == held, "{PAGE} says something else; CHATLANE_UPDATE=1 writes it anew:\n{}", difference.join("\n"));
}

#[test]
fn a_promise_that_is_kept_has_its_tests_and_its_files() {
    let page = read(PAGE);
    let promises = promises(&page);
    let held = held(&promises);
    for [number, _, enforced, files] in promises {
        let tested = held.contains(&format!("| {number} | `"));
        assert_eq!(tested, enforced != "Later.", "{number}: whether a test holds it");
        for file in files.split('`').skip(1).step_by(2) {
            assert!(root().join(file).exists() || root().join("crates").join(file).exists(), "{number}: {file} does not exist");
        }
    }
}

#[test]
fn a_tag_is_of_the_function_below_it() {
    let first = "// holds: L1, D2\n#[test]\nfn first() { }\n";
    let second = "/// Text.\n    // holds: M1\n    // Why.\n    #[test_of(x)]\n    pub async fn second<B: Backend>(backend: &B) { }\n";
    let source = [first, second, "fn third() { }"].concat();
    assert_eq!(tags(&source), [(vec!["L1", "D2"], "first"), (vec!["M1"], "second")]);
}

#[test]
#[should_panic(expected = "`// holds: L1` stands above `struct S;`")]
fn a_tag_above_anything_else_is_refused() {
    tags("// holds: L1\nstruct S;\nfn f() {}");
}
