//! Attributes of stored items are named in `crates/aws/src/items` and nowhere else.
//!
//! Who names an attribute writes or reads a typed value of `DynamoDB`, or an expression. So neither may appear elsewhere, in the SDK's
//! words or in the JSON of its API; the names themselves, which are letters, need not be known here.

use std::path::Path;

use chatlane_tests_workspace::{code_and_literals, has_words, read, rust_files};

/// Where they may: (path, why).
const EXCEPTIONS: [(&str, &str); 4] = [
    ("crates/aws/src/items/", "what this test is about"),
    ("crates/local/src/embedded/", "models DynamoDB itself; its tests have tables of their own"),
    ("tests/checker/", "shares no code with what it judges, by design"),
    ("tests/workspace/", "these rules"),
];

/// Values and expressions in the SDK's words.
const OF_SDK: [&str; 8] =
    ["AttributeValue", "expression_attribute_", "_expression(", ".as_s()", ".as_n()", ".as_m()", ".as_b()", ".projection_"];

/// Expressions, in literals.
const OF_EXPRESSIONS: [&str; 6] =
    ["attribute_exists", "attribute_not_exists", "begins_with(", "if_not_exists(", "ExpressionAttribute", "Expression\""];

/// The types of values: the one field of each value's JSON.
const TYPES: [&str; 10] = ["S", "N", "B", "M", "L", "BOOL", "NULL", "SS", "NS", "BS"];

/// The first thing in this source that names an attribute.
fn names_an_attribute(source: &str) -> Option<String> {
    let code = code_and_literals(source);
    let typed =
        TYPES.iter().flat_map(|kind| [format!("\"{kind}\":"), format!("[\"{kind}\"]"), format!("/{kind}\""), format!("\"{kind}\\\":")]);
    let sdk =
        OF_SDK.iter().find(|words| if words.starts_with(char::is_uppercase) { has_words(&code, words) } else { code.contains(**words) });
    let expressions = OF_EXPRESSIONS.iter().find(|words| code.contains(**words));
    sdk.or(expressions).map(ToString::to_string).or_else(|| typed.into_iter().find(|words| code.contains(words)))
}

fn is_excepted(path: &Path) -> bool {
    EXCEPTIONS.iter().any(|(start, _)| path.starts_with(start))
}

#[test]
fn attributes_are_named_with_the_items_only() {
    let files = ["crates", "functions", "tests"].into_iter().flat_map(rust_files);
    for path in files.filter(|path| !is_excepted(path)) {
        if let Some(words) = names_an_attribute(&read(&path)) {
            panic!("{} has `{words}`: ask for a function in crates/aws/src/items", path.display());
        }
    }
}

#[test]
fn an_attribute_is_seen_in_every_form_in_which_it_could_be_named() {
    for source in [
        r#"update.condition_expression("attribute_exists(c)")"#,
        r##"update.expression_attribute_names("#c", name)"##,
        "request.key_condition_expression(text)",
        "AttributeValue::S(text)",
        r#"item.get("u")?.as_s()"#,
        r#"json!({ "u": { "S": user } })"#,
        r#"item["ttl"]["N"].as_str()"#,
        r#"request.pointer("/Item/s/N")"#,
        r#"json!({ "UpdateExpression": "SET e = :e" })"#,
        r#"let text = "{\"u\":{\"S\":\"alice\"}}";"#,
    ] {
        assert!(names_an_attribute(source).is_some(), "{source}");
    }
    for source in
        ["a(); // \"S\": attribute_exists(c)", "inbox::key(&user, &id)", r#"json!({ "TableName": "log", "Item": to_json(&item) })"#]
    {
        assert_eq!(names_an_attribute(source), None, "{source}");
    }
}

#[test]
fn every_exception_is_needed() {
    for (start, _) in EXCEPTIONS {
        assert!(rust_files(start).iter().any(|path| names_an_attribute(&read(path)).is_some()), "{start}");
    }
}
