//! The table: a line for each role and resource.

use std::collections::{BTreeMap, BTreeSet};

use chatlane_tests_e2e::padded;

use crate::permission::Permission;

const INTRODUCTION: &str = "\
# What every function may do

Measured by `tests/privilege`: every function does all that it does, and each request that reaches an embedded endpoint is an action on a
resource. `tests/run lint facts` compares the roles in `infra/template.yaml` with it; a missing permission fails, and so does an unused one.
`CHATLANE_UPDATE=1 cargo nextest run -p chatlane-tests-e2e --test privilege` writes this file.

A resource is the end of its ARN, behind the account, or behind the API and its stage, with the names of the local stack. With it are
what a starting process asks to open its connections (`GET/@connections/none` is nothing else), and what Lambda asks of the queue as the
role of the function that it invokes: to receive, to delete, to get attributes. So it asks of the log's stream, and of the queue to which it
tells the records that it gives up. Not measured are logs: every role also has AWS's managed policy `AWSLambdaBasicExecutionRole`, which
SAM adds: `logs:CreateLogGroup`, `logs:CreateLogStream`, `logs:PutLogEvents`, on every group.

";

/// The whole file. A role that uses nothing has an empty line.
pub fn of(roles: &BTreeSet<&str>, used: &BTreeSet<Permission>) -> String {
    let mut actions: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Permission { role, resource, action } in used {
        actions.entry((role, resource)).or_default().push(action);
    }
    let idle = roles.iter().filter(|role| used.iter().all(|permission| permission.role != **role));
    actions.extend(idle.map(|role| ((*role, ""), vec![])));
    let mut lines = vec![["role".to_owned(), "resource".to_owned(), "actions".to_owned()]];
    lines.extend(actions.into_iter().map(|((role, resource), actions)| [role.to_owned(), resource.to_owned(), actions.join(", ")]));
    INTRODUCTION.to_owned() + &padded(lines)
}
