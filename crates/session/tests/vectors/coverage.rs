//! Every rule has a vector, or the reason why not, in the table of `vectors/README.md`; and every vector stands in it, by its own `rules`.

use std::collections::BTreeSet;

use chatlane_protocol::ErrorCode;
use serde_json::{Value, json};

const README: &str = include_str!("../../vectors/README.md");
const PROTOCOL: &str = include_str!("../../../../docs/PROTOCOL.md");

/// The cells of a table's lines, below a heading that begins so.
fn lines<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let table = page.lines().skip_while(|line| !line.starts_with(heading)).skip(2).take_while(|line| line.starts_with('|'));
    table.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn names(cell: &str) -> BTreeSet<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

pub fn check(vectors: &[Value]) {
    let table = lines(README, "| rule |");
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let said: BTreeSet<_> = vector["rules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let listed = table.iter().filter(|line| line[1].starts_with('`') && names(line[1]).contains(name));
        assert_eq!(
            listed.map(|line| line[0]).collect::<BTreeSet<_>>(),
            said,
            "left: the lines of README.md that name {name}; right: its `rules`"
        );
    }
    for line in &table {
        let is_known = |name: &str| vectors.iter().any(|vector| vector["name"] == name);
        let has_vectors = line[1].starts_with('`') && names(line[1]).into_iter().all(is_known);
        assert!(has_vectors || line[1].split(' ').count() > 4, "neither vectors nor a reason: {line:?}");
    }
}

#[test]
fn every_error_code_has_a_vector_in_every_place() {
    let table = lines(README, "| rule |");
    let codes = lines(PROTOCOL, "| code | retryable |");
    assert_eq!(codes.iter().map(|line| line[0]).collect::<BTreeSet<_>>().len(), 22);
    for line in codes {
        let code = line[0].trim_matches('`');
        assert_ne!(serde_json::from_value::<ErrorCode>(json!(code)).unwrap(), ErrorCode::Unknown);
        let places = line[2].split(['(', ')']).step_by(2).flat_map(str::split_whitespace);
        for place in places {
            let rule = format!("§9 `{code}` {place}");
            assert!(table.iter().any(|line| line[0] == rule && line[1].starts_with('`')), "no vector for {rule}");
        }
    }
}
