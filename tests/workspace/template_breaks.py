"""Changes to infra/template.yaml that would break a deployment: what is wrong, which fact of template.py notices, and the change itself,
made to the resources as they are written, before SAM's transformation."""


def of(resources: dict, name: str) -> dict:
    return resources[name]["Properties"]


def statement(resources: dict, function: str, number: int) -> dict:
    return of(resources, function)["Policies"][0]["Statement"][number]


def arn(name: str) -> dict:
    return {"Fn::GetAtt": [name, "Arn"]}


def policy(role: str) -> dict:
    document = {"Statement": [{"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": arn("LogTable")}]}
    return {"Type": "AWS::IAM::Policy", "Properties": {"PolicyName": "more", "PolicyDocument": document, "Roles": [{"Ref": role}]}}


def route(resources: dict, name: str) -> dict:
    return of(resources, "Sockets")["Routes"][name]


def restore(resources: dict, table: str) -> dict:
    return of(resources, table)["PointInTimeRecoverySpecification"]


def expiry(resources: dict) -> dict:
    return of(resources, "UsersTable")["TimeToLiveSpecification"]


def widen(resources: dict, function: str, number: int, action: str) -> None:
    each = statement(resources, function, number)
    each["Action"] = [each["Action"], action] if isinstance(each["Action"], str) else [*each["Action"], action]


PERMITTED = "test_a_role_is_permitted_what_its_function_uses_and_nothing_else"
STATEMENTS = "test_a_role_has_its_own_statements_and_the_policy_for_logs"
NARROW = "test_no_permission_is_wider_than_one_action_on_one_resource"
VARIABLES = "test_a_function_may_use_what_its_variables_name_and_nothing_else"
QUEUE = "test_a_task_stays_invisible_for_six_time_limits_and_ends_in_the_dead_letters"
SWEPT = "test_what_is_stored_is_swept_after_a_minute_and_what_fails_is_parted_from_the_rest"
RESPONSES = "test_every_route_that_answers_has_a_route_response"
CALLED = "test_every_route_calls_its_function"
CALLABLE = "test_the_gateway_may_call_the_authorizer_and_every_function_behind_a_route"
AUTHORIZED = "test_a_socket_is_authorized_without_a_declared_identity_source"
TABLES = "test_tables_have_their_keys_outlive_the_stack_and_can_be_restored"
EXPIRE = "test_only_sessions_expire"
ENCRYPTED = "test_what_is_stored_is_encrypted"
LOGGED = "test_every_function_logs_to_a_group_that_forgets"
LIMITS = "test_no_write_outlives_ten_seconds_and_system_logs_are_quiet"
ROLES = "test_every_role_of_the_binary_is_one_function"
TARGETS = "test_every_reference_has_its_target"

BREAKS = [
    ("hello may put any item", STATEMENTS, lambda r: statement(r, "Hello", 2).pop("Condition")),
    ("http may put any item of a user", STATEMENTS, lambda r: statement(r, "Http", 5).pop("Condition")),
    ("authorize may delete any item of a user", STATEMENTS, lambda r: statement(r, "Authorize", 0).pop("Condition")),
    ("HTTPS goes to send", CALLED, lambda r: of(r, "HttpsIntegration").update(IntegrationUri=arn("Send"))),
    ("send may not put", PERMITTED, lambda r: statement(r, "Send", 0)["Action"].remove("dynamodb:PutItem")),
    ("hello may not read one entry, only several", PERMITTED, lambda r: statement(r, "Hello", 0)["Action"].remove("dynamodb:GetItem")),
    ("disconnect may do nothing", PERMITTED, lambda r: of(r, "Disconnect").pop("Policies")),
    ("fan_out may not open its connection to the gateway", PERMITTED, lambda r: statement(r, "FanOut", 5)["Resource"].pop(0)),
    ("the queue's tasks may not be received", PERMITTED, lambda r: statement(r, "FanOut", 4)["Action"].remove("sqs:ReceiveMessage")),
    ("history may not send a caller off", PERMITTED, lambda r: statement(r, "History", 4)["Resource"].pop(0)),
    ("history may not look whether somebody is a member", PERMITTED, lambda r: of(r, "History")["Policies"][0]["Statement"].pop(1)),
    ("nobody may leave a group", PERMITTED, lambda r: statement(r, "Manage", 1)["Action"].remove("dynamodb:DeleteItem")),
    ("the members of a group may not be listed", PERMITTED, lambda r: statement(r, "Look", 1)["Action"].remove("dynamodb:Query")),
    ("send may read the log in a way that it does not", PERMITTED, lambda r: widen(r, "Send", 0, "dynamodb:DescribeTable")),
    ("ping may query sessions", PERMITTED, lambda r: widen(r, "Ping", 2, "dynamodb:Query")),
    ("connect may post", PERMITTED, lambda r: of(r, "Connect").update(Policies=of(r, "Fallback")["Policies"])),
    ("probe may use another table than it does", PERMITTED, lambda r: statement(r, "Probe", 0).update(Resource=arn("UsersTable"))),
    ("refresh may use a table that it is not told", VARIABLES, lambda r: statement(r, "Refresh", 0).update(Resource=arn("LogTable"))),
    ("send is not told the queue", VARIABLES, lambda r: of(r, "Send")["Environment"]["Variables"].pop("CHATLANE_FAN_OUT_QUEUE_URL")),
    ("read may do everything with the log", NARROW, lambda r: widen(r, "Read", 0, "dynamodb:*")),
    ("ack may remove entries", NARROW, lambda r: widen(r, "Ack", 0, "dynamodb:DeleteItem")),
    ("manage may remove entries", NARROW, lambda r: widen(r, "Manage", 0, "dynamodb:DeleteItem")),
    ("manage may forget users", NARROW, lambda r: widen(r, "Manage", 3, "dynamodb:DeleteItem")),
    ("sync may read every table", NARROW, lambda r: statement(r, "Sync", 0).update(Resource="*")),
    ("open has a managed policy", STATEMENTS, lambda r: of(r, "Open")["Policies"].append("AmazonDynamoDBFullAccess")),
    ("open is denied what it needs", STATEMENTS, lambda r: statement(r, "Open", 0).update(Effect="Deny")),
    ("send acts as open", STATEMENTS, lambda r: of(r, "Send").update(Role=arn("OpenRole"))),
    ("history may do more by a policy of its own", STATEMENTS, lambda r: r.update(More=policy("HistoryRole"))),
    ("the queue has no dead letters", QUEUE, lambda r: of(r, "FanOutQueue").pop("RedrivePolicy")),
    ("a task is given up after one failure", QUEUE, lambda r: of(r, "FanOutQueue")["RedrivePolicy"].update(maxReceiveCount=1)),
    ("dead letters go after four days", QUEUE, lambda r: of(r, "FanOutDeadLetters").pop("MessageRetentionPeriod")),
    ("tasks are visible again too soon", QUEUE, lambda r: of(r, "FanOutQueue").update(VisibilityTimeout=59)),
    ("the worker may take longer than a sixth of that", QUEUE, lambda r: of(r, "FanOut").update(Timeout=11)),
    ("one failed task fails its batch", QUEUE, lambda r: of(r, "FanOutMapping").pop("FunctionResponseTypes")),
    ("nothing takes tasks from the queue", QUEUE, lambda r: r.pop("FanOutMapping")),
    ("nobody sweeps", SWEPT, lambda r: r.pop("SweepMapping")),
    ("the log has no stream", SWEPT, lambda r: of(r, "LogTable").pop("StreamSpecification")),
    ("the stream holds what people write", SWEPT, lambda r: of(r, "LogTable")["StreamSpecification"].update(StreamViewType="NEW_IMAGE")),
    ("every change is swept", SWEPT, lambda r: of(r, "SweepMapping").pop("FilterCriteria")),
    ("a hundred entries end a minute", SWEPT, lambda r: of(r, "SweepMapping").pop("BatchSize")),
    ("everything is swept at once", SWEPT, lambda r: of(r, "SweepMapping").pop("MaximumBatchingWindowInSeconds")),
    ("a bad record stops its shard for a day", SWEPT, lambda r: of(r, "SweepMapping").pop("MaximumRetryAttempts")),
    ("a bad record takes its batch with it", SWEPT, lambda r: of(r, "SweepMapping").pop("BisectBatchOnFunctionError")),
    ("what is given up is told to nobody", SWEPT, lambda r: of(r, "SweepMapping").pop("DestinationConfig")),
    ("fan_out sweeps", SWEPT, lambda r: of(r, "SweepMapping").update(FunctionName=arn("FanOut"))),
    ("the stream may not be read", PERMITTED, lambda r: statement(r, "Sweep", 3)["Action"].remove("dynamodb:GetRecords")),
    ("what is given up cannot be told", PERMITTED, lambda r: of(r, "Sweep")["Policies"][0]["Statement"].pop(4)),
    ("send may write for half a minute", LIMITS, lambda r: of(r, "Send").update(Timeout=29)),
    ("the answers of send reach nobody", RESPONSES, lambda r: r.pop("SendRouteResponse")),
    ("the answers of ping are not selected", RESPONSES, lambda r: route(r, "ping").pop("RouteResponseSelectionExpression")),
    ("the answers of close reach nobody", RESPONSES, lambda r: r.pop("CloseRouteResponse")),
    ("ack has no route", RESPONSES, lambda r: (of(r, "Sockets")["Routes"].pop("ack"), r.pop("AckRouteResponse"))),
    ("a route response is of no route", TARGETS, lambda r: of(r, "Sockets")["Routes"].pop("ack")),
    ("read is answered by ack", CALLED, lambda r: route(r, "read").update(FunctionArn=arn("Ack"))),
    ("leave is answered by open", CALLED, lambda r: route(r, "leave").update(FunctionArn=arn("Open"))),
    ("members are managed, not told", CALLED, lambda r: route(r, "members").update(FunctionArn=arn("Manage"))),
    ("read may not be called", CALLABLE, lambda r: of(r, "Sockets")["Routes"].pop("read")),
    ("everybody may connect", AUTHORIZED, lambda r: of(r, "Sockets").pop("Auth")),
    ("connect authorizes", AUTHORIZED, lambda r: of(r, "Sockets")["Auth"].update(AuthArn=arn("Connect"))),
    ("a header is required", AUTHORIZED, lambda r: of(r, "Sockets")["Auth"].update(IdentitySource=["route.request.header.Authorization"])),
    ("the log cannot be restored", TABLES, lambda r: of(r, "LogTable").pop("PointInTimeRecoverySpecification")),
    ("inboxes cannot be restored", TABLES, lambda r: restore(r, "InboxesTable").update(PointInTimeRecoveryEnabled=False)),
    ("the log goes with the stack", TABLES, lambda r: r["LogTable"].update(DeletionPolicy="Delete")),
    ("positions are texts", TABLES, lambda r: of(r, "LogTable")["AttributeDefinitions"][1].update(AttributeType="S")),
    ("sessions stay for ever", EXPIRE, lambda r: of(r, "UsersTable").pop("TimeToLiveSpecification")),
    ("sessions expire by an attribute that they have not", EXPIRE, lambda r: expiry(r).update(AttributeName="expires")),
    ("entries expire", EXPIRE, lambda r: of(r, "LogTable").update(TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})),
    ("a table has no key of the account's", ENCRYPTED, lambda r: of(r, "ConversationsTable").pop("SSESpecification")),
    ("dead letters are not encrypted", ENCRYPTED, lambda r: of(r, "FanOutDeadLetters").update(SqsManagedSseEnabled=False)),
    ("logs are kept for ever", LOGGED, lambda r: of(r, "Logs").pop("RetentionInDays")),
    ("hello logs to a group of its own", LOGGED, lambda r: of(r, "Hello").update(LoggingConfig={"LogGroup": "/hello"})),
    ("history is not deployed", ROLES, lambda r: of(r, "History").update(Handler="probe")),
]
