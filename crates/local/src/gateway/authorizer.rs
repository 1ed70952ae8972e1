//! What the authorizer's answer means: an IAM policy judged for `$connect`, and the context that is replayed on every event.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Who was let in: `principalId` and the context, all as strings (page "Output from an API Gateway Lambda authorizer").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorized {
    pub(super) principal: String,
    pub(super) context: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow(Authorized),
    Deny,
}

/// An answer that is no authorizer result: the handshake gets 500.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadResult {
    #[error("the authorizer's result is larger than the limit")]
    TooLarge,
    #[error("the authorizer's result has not the documented shape")]
    Shape,
    #[error("the authorizer's context holds a value that is not a string, number or boolean")]
    Context,
    #[error("the authorizer's policy has a condition, which this gateway does not evaluate")]
    Condition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    principal_id: String,
    policy_document: Policy,
    #[serde(default)]
    context: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    statement: OneOrMany<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: Effect,
    action: OneOrMany<String>,
    resource: OneOrMany<String>,
    #[serde(default)]
    condition: Option<IgnoredAny>,
}

#[derive(Deserialize, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Judges an answer for the method (`$connect`) with this ARN: a matching Deny wins, then a matching Allow; nothing matching is a deny.
pub(super) fn judge(answer: &[u8], method_arn: &str, bytes_max: usize) -> Result<Verdict, BadResult> {
    if answer.len() > bytes_max {
        return Err(BadResult::TooLarge);
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| BadResult::Shape)?;
    let context =
        answer.context.unwrap_or_default().into_iter().map(|(key, value)| Ok((key, text(value)?))).collect::<Result<_, BadResult>>()?;
    let mut allowed = false;
    for statement in answer.policy_document.statement.as_slice() {
        if statement.condition.is_some() {
            return Err(BadResult::Condition);
        }
        // IAM: action names are case-insensitive, resources are not.
        let applies =
            statement.action.as_slice().iter().any(|action| matches(action.to_ascii_lowercase().as_bytes(), b"execute-api:invoke"))
                && statement.resource.as_slice().iter().any(|resource| matches(resource.as_bytes(), method_arn.as_bytes()));
        match (applies, &statement.effect) {
            (true, Effect::Deny) => return Ok(Verdict::Deny),
            (true, Effect::Allow) => allowed = true,
            (false, _) => {}
        }
    }
    if allowed { Ok(Verdict::Allow(Authorized { principal: answer.principal_id, context })) } else { Ok(Verdict::Deny) }
}

fn text(value: Value) -> Result<String, BadResult> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(BadResult::Context),
    }
}

/// IAM's wildcards: `*` is any run of characters, `?` one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', pattern @ ..], _) => (0..=text.len()).any(|run| matches(pattern, &text[run..])),
        ([b'?', pattern @ ..], [_, text @ ..]) => matches(pattern, text),
        ([expected, pattern @ ..], [byte, text @ ..]) => expected == byte && matches(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:000000000000:local/dev/$connect";

    fn statement(effect: &str, action: &str, resource: &str) -> Value {
        json!({"Effect": effect, "Action": [action], "Resource": resource})
    }

    fn judged(statements: &Value, context: &Value) -> Result<Verdict, BadResult> {
        let answer = json!({"principalId": "u", "policyDocument": {"Version": "2012-10-17", "Statement": statements}, "context": context});
        judge(answer.to_string().as_bytes(), ARN, 8192)
    }

    #[test]
    fn a_deny_wins_over_an_allow_and_silence_is_a_deny() {
        let allow = || statement("Allow", "execute-api:Invoke", ARN);
        assert!(matches!(judged(&json!([allow()]), &Value::Null), Ok(Verdict::Allow(_))));
        assert!(matches!(judged(&allow(), &Value::Null), Ok(Verdict::Allow(_))));
        assert_eq!(judged(&json!([allow(), statement("Deny", "*", "*")]), &Value::Null), Ok(Verdict::Deny));
        assert_eq!(judged(&json!([]), &Value::Null), Ok(Verdict::Deny));
    }

    #[test]
    fn an_allow_for_another_resource_or_action_does_not_count() {
        let elsewhere = statement("Allow", "execute-api:Invoke", "arn:aws:execute-api:us-east-1:000000000000:local/prod/*");
        assert_eq!(judged(&elsewhere, &Value::Null), Ok(Verdict::Deny));
        assert_eq!(judged(&statement("Allow", "execute-api:ManageConnections", "*"), &Value::Null), Ok(Verdict::Deny));
        let wildcards = statement("Allow", "Execute-API:*", "arn:aws:execute-api:*:*:local/d?v/*");
        assert!(matches!(judged(&wildcards, &Value::Null), Ok(Verdict::Allow(_))));
    }

    #[test]
    fn context_values_become_strings() {
        let context = json!({"device": "d", "exp": 1_700_000_000, "admin": true});
        let Ok(Verdict::Allow(authorized)) = judged(&statement("Allow", "*", "*"), &context) else { panic!("allowed") };
        assert_eq!(authorized.principal, "u");
        let expected = [("admin", "true"), ("device", "d"), ("exp", "1700000000")];
        assert!(authorized.context.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }

    #[test]
    fn a_result_that_is_nested_conditional_shapeless_or_large_is_an_error() {
        let allow = || statement("Allow", "*", "*");
        assert_eq!(judged(&allow(), &json!({"device": {"id": 1}})), Err(BadResult::Context));
        let conditional = json!([{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {}}}]);
        assert_eq!(judged(&conditional, &Value::Null), Err(BadResult::Condition));
        assert_eq!(judge(b"null", ARN, 8192), Err(BadResult::Shape));
        assert_eq!(judge(&[b' '; 8193], ARN, 8192), Err(BadResult::TooLarge));
    }
}
