"""What `sam validate --lint` does not know of infra/template.yaml. It also accepts a reference to a resource that SAM should make and does
not, so the facts are read from the template after SAM's own transformation. Run by `tests/run lint facts`, with the SAM CLI's Python."""

import os
import re
import unittest
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parent.parent.parent
ROUTES = {"hello", "open", "send", "sync", "history", "probe", "ack", "read", "refresh", "ping"}
ROLES = ROUTES | {"authorize", "connect", "disconnect", "fallback", "fan_out"}
ONE_WAY = {"$connect", "$disconnect"}
TWO_WAY = ROUTES | {"$default"}


def transformed() -> dict:
    template = yaml_parse((ROOT / "infra/template.yaml").read_text())
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"  # as after `sam package`
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # the transformation asks for the name of a partition
    return Translator({"AWSLambdaBasicExecutionRole": "AWSLambdaBasicExecutionRole"}, Parser()).translate(template, {})


TEMPLATE = transformed()


def of_type(kind: str) -> dict:
    """The properties of all resources of a type, by logical id."""
    return {name: each["Properties"] for name, each in TEMPLATE["Resources"].items() if each["Type"] == kind}


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
        (mapping,) = of_type("AWS::Lambda::EventSourceMapping").values()
        (function,), (queue,) = references(mapping["FunctionName"]), references(mapping["EventSourceArn"])
        properties = of_type("AWS::SQS::Queue")[queue]
        self.assertGreaterEqual(properties["VisibilityTimeout"], 6 * of_type("AWS::Lambda::Function")[function]["Timeout"])
        (dead_letters,) = references(properties["RedrivePolicy"])
        self.assertEqual(of_type("AWS::SQS::Queue")[dead_letters]["MessageRetentionPeriod"], 14 * 24 * 3600)
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual((mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]), (10, 0))

    def test_every_route_that_answers_has_a_route_response(self):
        routes = of_type("AWS::ApiGatewayV2::Route")
        self.assertEqual({each["RouteKey"] for each in routes.values()}, ONE_WAY | TWO_WAY)
        answered = set().union(*(references(each["RouteId"]) for each in of_type("AWS::ApiGatewayV2::RouteResponse").values()))
        self.assertEqual({routes[each]["RouteKey"] for each in answered}, TWO_WAY)
        selecting = {each["RouteKey"] for each in routes.values() if each.get("RouteResponseSelectionExpression")}
        self.assertEqual(selecting, TWO_WAY)

    def test_every_route_calls_the_function_of_its_name(self):
        integrations = of_type("AWS::ApiGatewayV2::Integration")
        for route in of_type("AWS::ApiGatewayV2::Route").values():
            (integration,) = references(route["Target"])
            (function,) = references(integrations[integration]["IntegrationUri"])
            role = {"$default": "fallback"}.get(route["RouteKey"], route["RouteKey"].lstrip("$"))
            self.assertEqual(of_type("AWS::Lambda::Function")[function]["Handler"], role)

    def test_a_socket_is_authorized_without_a_declared_identity_source(self):
        (authorizer,) = of_type("AWS::ApiGatewayV2::Authorizer").values()
        self.assertNotIn("IdentitySource", authorizer)
        (connect,) = [each for each in of_type("AWS::ApiGatewayV2::Route").values() if each["RouteKey"] == "$connect"]
        self.assertEqual(connect["AuthorizationType"], "CUSTOM")

    def test_tables_outlive_the_stack_and_only_sessions_expire(self):
        for name, table in of_type("AWS::DynamoDB::Table").items():
            resource = TEMPLATE["Resources"][name]
            self.assertEqual((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("Retain", "Retain"), name)
            self.assertTrue(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], name)
            self.assertEqual("TimeToLiveSpecification" in table, name == "UsersTable", name)

    def test_a_function_may_use_what_its_variables_name_and_nothing_else(self):
        stores = set(of_type("AWS::DynamoDB::Table")) | set(of_type("AWS::SQS::Queue")) | set(of_type("AWS::ApiGatewayV2::Api"))
        for name, function in of_type("AWS::Lambda::Function").items():
            permitted = set().union(*(references(each["Resource"]) for each in statements(name))) & stores
            self.assertEqual(references(function.get("Environment", {})) & stores, permitted, name)

    def test_no_permission_is_wider_than_one_action_on_one_resource(self):
        for function in of_type("AWS::Lambda::Function"):
            for statement in statements(function):
                for action in as_list(statement["Action"]):
                    self.assertNotIn("*", action, function)
                    self.assertNotIn(action, ("dynamodb:Scan", "dynamodb:DeleteItem"), f"{function}: never scan; the log is append-only")
                for resource in as_list(statement["Resource"]):
                    self.assertTrue(references(resource), f"{function}: {resource} names no resource of this template")


if __name__ == "__main__":
    unittest.main()
