"""What `sam validate --lint` does not know of infra/template.yaml. It also accepts a reference to a resource that SAM should make and does
not, so the facts are read from the template after SAM's own transformation. Run by `tests/run lint facts`, with the Python of cfn-lint.
Each fact is shown to be one: template_breaks.py has changes that would break a deployment, and the fact that notices each."""

import json
import os
import re
import unittest
from pathlib import Path

from cfnlint.decode import decode
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from template_breaks import BREAKS

ROOT = Path(__file__).resolve().parent.parent.parent
USED = ROOT / "tests/e2e/tests/privilege/permissions.md"  # measured, and written, by the test beside it
TABLE = ROOT / "crates/protocol/src/actions/mod.rs"  # its rows: Hello "hello" => ...
ROUTES = set(re.findall(r'^    \w+ "(\w+)" => ', TABLE.read_text(), re.MULTILINE)) - {"ticket"}  # that is asked over HTTPS only
HTTPS = "POST /v1/{action}"
SHARED = {  # the routes of a function that is not called as its only one
    **dict.fromkeys(["create", "add", "remove", "leave", "role", "settings", "close", "prefs"], "manage"),
    **dict.fromkeys(["edit", "delete", "react"], "send"),
    **dict.fromkeys(["info", "members"], "look"),
    "$default": "fallback",
    HTTPS: "http",
}
ROLES = {SHARED.get(route, route) for route in ROUTES} | {"authorize", "connect", "disconnect", "fallback", "fan_out", "http", "sweep"}
ONE_WAY = {"$connect", "$disconnect"}
TWO_WAY = ROUTES | {"$default"}

# Keys as `chatlane_aws::table` has them; a table cannot be given others later.
KEYS = {
    "LogTable": [("c", "S", "HASH"), ("s", "N", "RANGE")],
    "ConversationsTable": [("c", "S", "HASH"), ("k", "S", "RANGE")],
    "InboxesTable": [("u", "S", "HASH"), ("c", "S", "RANGE")],
    "UsersTable": [("u", "S", "HASH"), ("k", "S", "RANGE")],
}

# `hello` and `http` make the item that all functions share, and write nothing else beside it: the key is that of `chatlane_aws::items::deployment`.
DEPLOYMENT_ONLY = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["#deployment"]}}

# `http` issues tickets, and `authorize` takes them: the key is that of `chatlane_aws::items::ticket`.
TICKETS_ONLY = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["#ticket#*"]}}

# What may be done by such a key only: function, action, table.
BY_KEY = {
    ("Hello", "dynamodb:PutItem", "ConversationsTable"): DEPLOYMENT_ONLY,
    ("Http", "dynamodb:PutItem", "ConversationsTable"): DEPLOYMENT_ONLY,
    ("Http", "dynamodb:PutItem", "UsersTable"): TICKETS_ONLY,
    ("Authorize", "dynamodb:DeleteItem", "UsersTable"): TICKETS_ONLY,
}

# Where rows go that somebody has as a member.
MEMBERS_ONLY = {"ConversationsTable", "InboxesTable"}

# SAM gives it to every role that it makes, and cannot be told not to: CreateLogGroup, CreateLogStream and PutLogEvents, on every log group.
LOGS_POLICY = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def transformed(change=lambda resources: None) -> dict:
    """The template as CloudFormation gets it; `change` may first change the resources as they are written."""
    template, errors = decode(str(ROOT / "infra/template.yaml"))
    assert not errors, errors
    template = json.loads(json.dumps(template))  # an alias becomes a copy, as `sam build` writes it: a change of one function is of that one
    change(template["Resources"])
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"  # as after `sam package`
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transformation asks for the name of a partition
    translator = Translator({"AWSLambdaBasicExecutionRole": "AWSLambdaBasicExecutionRole"}, Parser())
    made = translator.translate(template, {})
    translator.metrics.publish()  # to nobody; else it complains
    return made


TEMPLATE = transformed()


def of_type(kind: str) -> dict:
    """The properties of all resources of a type, by logical id."""
    return {name: each.get("Properties", {}) for name, each in TEMPLATE["Resources"].items() if each["Type"] == kind}


def references(node) -> set:
    """The logical ids and parameters that a part of the template names."""
    found = set()
    if isinstance(node, list):
        return found.union(*map(references, node))
    if not isinstance(node, dict):
        return found
    for key, value in node.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::GetAtt":
            found.add(value[0] if isinstance(value, list) else value.split(".")[0])
        elif key == "Fn::Sub":
            text, own = (value[0], value[1]) if isinstance(value, list) else (value, {})
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text)} - set(own)
            found |= references(own)
        elif key == "DependsOn":
            found |= {value} if isinstance(value, str) else set(value)
        else:
            found |= references(value)
    return {name for name in found if not name.startswith("AWS::")}


def statements(function: str) -> list:
    role = of_type("AWS::IAM::Role")[f"{function}Role"]
    return [each for policy in role.get("Policies", []) for each in policy["PolicyDocument"]["Statement"]]


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def end_of_arn(function: str, resource) -> str:
    """What stands behind the account in a resource's ARN, where the tables and the queue are called as in permissions.md, which has the
    names of the local stack: each is there what the variable of that name says."""
    connections = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Sockets}/${StageName}/"
    match resource:
        case {"Fn::GetAtt": ["SweepFailures", "Arn"]}:
            return "sweep-failures"  # Lambda sends to it; the function is not told
        case {"Fn::GetAtt": [name, "StreamArn"]}:
            return end_of_arn(function, {"Fn::GetAtt": [name, "Arn"]}) + "/stream"
        case {"Fn::GetAtt": [name, "Arn"]}:
            variables = of_type("AWS::Lambda::Function")[function].get("Environment", {}).get("Variables", {})
            (variable,) = [variable for variable, value in variables.items() if value == {"Ref": name}] or [f"none for {name}"]
            local = re.sub("^CHATLANE_(.*)_(TABLE|QUEUE_URL)$", r"\1", variable).lower().replace("_", "-")
            return f"table/{local}" if variable.endswith("_TABLE") else local
        case {"Fn::Sub": str(arn)} if arn.startswith(connections):
            return arn.removeprefix(connections)
    return f"what cannot be read: {resource}"


def permitted() -> set:
    """Role, action and resource of every permission that the template gives."""
    return {
        (function["Handler"], action, end_of_arn(name, resource))
        for name, function in of_type("AWS::Lambda::Function").items()
        for statement in statements(name)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def used() -> set:
    """The same of every call that was seen."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in USED.read_text().splitlines() if line.startswith("| ")]
    (heading, _, *rows) = rows
    assert heading == ["role", "resource", "actions"], heading
    return {(role, action, resource) for role, resource, actions in rows for action in actions.split(", ") if action}


def told(what: str, permissions: set) -> list:
    return [f"  {role}: {action} on {resource} is {what}" for role, action, resource in sorted(permissions)]


class TheTemplate(unittest.TestCase):
    def test_every_reference_has_its_target(self):
        self.assertEqual(references(TEMPLATE) - set(TEMPLATE["Resources"]) - set(TEMPLATE["Parameters"]), set())

    def test_every_role_of_the_binary_is_one_function(self):
        handlers = [each["Handler"] for each in of_type("AWS::Lambda::Function").values()]
        self.assertEqual(sorted(handlers), sorted(ROLES))

    def test_no_write_outlives_ten_seconds_and_system_logs_are_quiet(self):
        for name, function in of_type("AWS::Lambda::Function").items():
            self.assertLessEqual(function["Timeout"], 10, name)
            self.assertGreaterEqual(function["MemorySize"], 512, name)
            self.assertEqual((function["LoggingConfig"]["LogFormat"], function["LoggingConfig"]["SystemLogLevel"]), ("JSON", "WARN"), name)

    def test_a_task_stays_invisible_for_six_time_limits_and_ends_in_the_dead_letters(self):
        mapping = of_type("AWS::Lambda::EventSourceMapping").get("FanOutMapping", {"FunctionName": None, "EventSourceArn": None})
        (function,), (queue,) = references(mapping["FunctionName"]), references(mapping["EventSourceArn"])
        properties = of_type("AWS::SQS::Queue")[queue]
        self.assertGreaterEqual(properties["VisibilityTimeout"], 6 * of_type("AWS::Lambda::Function")[function]["Timeout"])
        self.assertIn("RedrivePolicy", properties)
        (dead_letters,) = references(properties["RedrivePolicy"])
        self.assertEqual(properties["RedrivePolicy"]["maxReceiveCount"], 10)
        self.assertEqual(of_type("AWS::SQS::Queue")[dead_letters]["MessageRetentionPeriod"], 14 * 24 * 3600)
        self.assertEqual(mapping.get("FunctionResponseTypes"), ["ReportBatchItemFailures"])
        self.assertEqual((mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]), (10, 0))

    def test_what_is_stored_is_swept_after_a_minute_and_what_fails_is_parted_from_the_rest(self):
        mapping = dict(of_type("AWS::Lambda::EventSourceMapping").get("SweepMapping", {}))
        self.assertEqual(references(mapping.pop("FunctionName", None)), {"Sweep"})
        self.assertEqual(mapping.pop("EventSourceArn"), {"Fn::GetAtt": ["LogTable", "StreamArn"]})
        self.assertEqual(of_type("AWS::DynamoDB::Table")["LogTable"].get("StreamSpecification"), {"StreamViewType": "KEYS_ONLY"})
        (inserts,) = mapping.pop("FilterCriteria")["Filters"]
        self.assertEqual(json.loads(inserts["Pattern"]), {"eventName": ["INSERT"]})
        self.assertEqual(references(mapping.pop("DestinationConfig")), {"SweepFailures"})
        batches = {"BatchSize": 10000, "MaximumBatchingWindowInSeconds": 60, "StartingPosition": "TRIM_HORIZON"}
        self.assertEqual(mapping, {**batches, "BisectBatchOnFunctionError": True, "MaximumRetryAttempts": 5})
        self.assertEqual(of_type("AWS::SQS::Queue")["SweepFailures"]["MessageRetentionPeriod"], 14 * 24 * 3600)

    def test_every_route_that_answers_has_a_route_response(self):
        routes = of_type("AWS::ApiGatewayV2::Route")
        self.assertEqual({each["RouteKey"] for each in routes.values()}, ONE_WAY | TWO_WAY | {HTTPS})
        answered = set().union(*(references(each["RouteId"]) for each in of_type("AWS::ApiGatewayV2::RouteResponse").values()))
        self.assertEqual({routes[each]["RouteKey"] for each in answered}, TWO_WAY)
        selecting = {each["RouteKey"] for each in routes.values() if each.get("RouteResponseSelectionExpression")}
        self.assertEqual(selecting, TWO_WAY)

    def test_every_route_calls_its_function(self):
        integrations = of_type("AWS::ApiGatewayV2::Integration")
        for route in of_type("AWS::ApiGatewayV2::Route").values():
            (integration,) = references(route["Target"])
            (function,) = references(integrations[integration]["IntegrationUri"])
            role = SHARED.get(route["RouteKey"], route["RouteKey"].lstrip("$"))
            self.assertEqual(of_type("AWS::Lambda::Function")[function]["Handler"], role)

    def test_a_socket_is_authorized_without_a_declared_identity_source(self):
        (authorizer,) = of_type("AWS::ApiGatewayV2::Authorizer").values()
        self.assertNotIn("IdentitySource", authorizer)
        (connect,) = [each for each in of_type("AWS::ApiGatewayV2::Route").values() if each["RouteKey"] == "$connect"]
        self.assertEqual(connect["AuthorizationType"], "CUSTOM")
        self.assertEqual(references(authorizer["AuthorizerUri"]), {"Authorize"})
        self.assertEqual(references(connect["AuthorizerId"]), set(of_type("AWS::ApiGatewayV2::Authorizer")))

    def test_the_gateway_may_call_the_authorizer_and_every_function_behind_a_route(self):
        callable_by_it = set().union(*(references(each["FunctionName"]) for each in of_type("AWS::Lambda::Permission").values()))
        self.assertEqual(callable_by_it, set(of_type("AWS::Lambda::Function")) - {"FanOut", "Sweep"})

    def test_tables_have_their_keys_outlive_the_stack_and_can_be_restored(self):
        tables = of_type("AWS::DynamoDB::Table")
        self.assertEqual(set(tables), set(KEYS))
        for name, table in tables.items():
            types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
            keys = [(each["AttributeName"], types[each["AttributeName"]], each["KeyType"]) for each in table["KeySchema"]]
            self.assertEqual(keys, KEYS[name], name)
            resource = TEMPLATE["Resources"][name]
            self.assertEqual((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("Retain", "Retain"), name)
            self.assertEqual(table.get("PointInTimeRecoverySpecification"), {"PointInTimeRecoveryEnabled": True}, name)

    def test_only_sessions_expire(self):
        expiry = {name: each.get("TimeToLiveSpecification") for name, each in of_type("AWS::DynamoDB::Table").items()}
        self.assertEqual(expiry, {**dict.fromkeys(KEYS), "UsersTable": {"AttributeName": "ttl", "Enabled": True}})

    def test_what_is_stored_is_encrypted(self):
        for name, table in of_type("AWS::DynamoDB::Table").items():
            self.assertEqual(table.get("SSESpecification"), {"SSEEnabled": True}, name)
        for name, queue in of_type("AWS::SQS::Queue").items():
            self.assertIs(queue.get("SqsManagedSseEnabled"), True, name)

    def test_every_function_logs_to_a_group_that_forgets(self):
        forgetting = {name for name, group in of_type("AWS::Logs::LogGroup").items() if group.get("RetentionInDays")}
        for name, function in of_type("AWS::Lambda::Function").items():
            group = references(function["LoggingConfig"].get("LogGroup"))
            self.assertTrue(group and group <= forgetting, f"{name} logs to a group without RetentionInDays: {group or 'Lambda makes it'}")

    def test_a_function_may_use_what_its_variables_name_and_nothing_else(self):
        stores = set(of_type("AWS::DynamoDB::Table")) | set(of_type("AWS::SQS::Queue")) | set(of_type("AWS::ApiGatewayV2::Api"))
        for name, function in of_type("AWS::Lambda::Function").items():
            permitted = set().union(*(references(each["Resource"]) for each in statements(name))) & stores
            permitted -= {"SweepFailures"}  # that is for Lambda to use
            self.assertEqual(references(function.get("Environment", {})) & stores, permitted, name)

    def test_a_role_is_permitted_what_its_function_uses_and_nothing_else(self):
        wrong = told("used, but not permitted", used() - permitted()) + told("permitted, but never used", permitted() - used())
        if wrong:
            self.fail("\n".join(["the template and permissions.md differ:", *wrong]))

    def test_a_role_has_its_own_statements_and_the_policy_for_logs(self):
        policies = {each["Type"] for each in TEMPLATE["Resources"].values() if "Policy" in each["Type"]}
        self.assertEqual(policies, set(), "nothing is permitted beside the roles")
        for name, role in of_type("AWS::IAM::Role").items():
            self.assertEqual(role["ManagedPolicyArns"], [LOGS_POLICY], name)
        for function, properties in of_type("AWS::Lambda::Function").items():
            self.assertEqual(references(properties["Role"]), {f"{function}Role"})
            for statement in statements(function):
                self.assertEqual(statement["Effect"], "Allow", function)
                self.assertEqual(set(statement) - {"Condition"}, {"Effect", "Action", "Resource"}, function)
                uses = {(function, action, table) for action in as_list(statement["Action"]) for table in references(statement["Resource"])}
                conditions = [BY_KEY[each] for each in uses & set(BY_KEY)]
                self.assertEqual([statement["Condition"]] if "Condition" in statement else [], conditions, function)

    def test_no_permission_is_wider_than_one_action_on_one_resource(self):
        for function in of_type("AWS::Lambda::Function"):
            for statement in statements(function):
                for action in as_list(statement["Action"]):
                    self.assertNotIn("*", action, function)
                    self.assertNotEqual(action, "dynamodb:Scan", function)
                    if action == "dynamodb:DeleteItem" and function != "Authorize":
                        self.assertLessEqual(references(statement["Resource"]), MEMBERS_ONLY, f"{function}: the log is append-only")
                for resource in as_list(statement["Resource"]):
                    self.assertTrue(references(resource), f"{function}: {resource} names no resource of this template")


class EveryFact(unittest.TestCase):
    def test_is_broken_by_the_changes_that_it_is_there_for(self):
        global TEMPLATE
        whole, facts = TEMPLATE, unittest.defaultTestLoader.getTestCaseNames(TheTemplate)
        unshaken = set(facts)
        try:
            for what, fact, change in BREAKS:
                with self.subTest(what):
                    TEMPLATE = transformed(change)
                    self.assertNotEqual(TEMPLATE, whole, "it changes nothing")
                    result = unittest.TestResult()
                    TheTemplate(fact).run(result)
                    self.assertFalse(result.wasSuccessful(), f"{fact} does not notice")
                    unshaken.discard(fact)
        finally:
            TEMPLATE = whole
        self.assertEqual(unshaken, set(), "no change is known that breaks these")


if __name__ == "__main__":
    unittest.main()
