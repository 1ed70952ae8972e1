//! What every function may do, measured: each call that its processes make to an embedded endpoint is an action on a resource that its
//! role needs.
//!
//! The table is `permissions.md` beside this file: `CHATLANE_UPDATE=1` writes it anew, and `tests/workspace/template.py` holds the
//! template's roles against it, in both directions. So a call that the template does not permit fails, and so does a permission that no
//! call needs.

mod permission;
mod scenes;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use chatlane_local::embedded::Service;
use chatlane_tests_e2e::{BUDGET, assert_kept, start};

use permission::{Permission, permissions};
use scenes::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn every_function_does_what_its_role_permits_and_nothing_else() {
    // The template's visibility timeout: what is done twice on a slow machine is done by the function itself.
    // Every frame is charged.
    let stack = start(|settings| {
        settings.visibility_timeout = Duration::from_mins(1);
        settings.environment.insert(BUDGET.to_owned(), "400".to_owned());
        settings.environment.insert("CHATLANE_CHARGED_MIN_UNITS".to_owned(), "1".to_owned());
    })
    .await;
    // Before the first process is started: what opens its connections needs permissions too.
    let scene = Scene::new(&stack);
    scene.play().await;
    let mut calls = scene.recording.take();
    calls.retain(|call| call.caller.function() != "tool"); // the test itself

    // A function that asks nothing of anybody takes events all the same.
    let took_events = calls.iter().filter(|call| call.service == Service::Runtime && call.operation == "Next");
    let roles: BTreeSet<&str> = took_events.map(|call| call.caller.function()).collect();
    let used: BTreeSet<Permission> = calls.iter().flat_map(permissions).collect();
    let measured = table::of(&roles, &used);
    assert!(used.iter().all(|permission| roles.contains(permission.role.as_str())), "who is that? {used:?}");
    assert_kept("tests/privilege/permissions.md", &measured);
}
