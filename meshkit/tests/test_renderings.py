import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from meshkit import errors, renderings
from meshkit.errors import Code, FieldViolation, MeshError, QuotaViolation

EVERY_ERROR = [
    (errors.InvalidArgument, "INVALID_ARGUMENT", 400, False),
    (errors.PayloadTooLarge, "RESOURCE_EXHAUSTED", 413, False),
    (errors.Unauthenticated, "UNAUTHENTICATED", 401, False),
    (errors.PermissionDenied, "PERMISSION_DENIED", 403, False),
    (errors.NotFound, "NOT_FOUND", 404, False),
    (errors.Overloaded, "RESOURCE_EXHAUSTED", 503, True),
    (errors.QuotaExceeded, "RESOURCE_EXHAUSTED", 429, True),
    (errors.Unavailable, "UNAVAILABLE", 503, True),
    (errors.DeadlineExceeded, "DEADLINE_EXCEEDED", 504, False),
    (errors.Cancelled, "CANCELLED", 499, False),
    (errors.Unimplemented, "UNIMPLEMENTED", 501, False),
    (errors.Internal, "INTERNAL", 500, False),
]


def test_the_table_of_the_tests_is_the_whole_tree() -> None:
    tree = set(MeshError.__subclasses__()) - {errors.UnknownError}
    assert tree == {error_type for error_type, *_ in EVERY_ERROR}


@pytest.mark.parametrize(("error_type", "code", "status", "retryable"), EVERY_ERROR)
def test_each_error_has_its_place_on_each_transport(
    error_type: type[MeshError], code: str, status: int, retryable: bool
) -> None:
    error = error_type("what is wrong, and the remedy")
    assert error.code.name == code
    assert error.retryable is retryable
    assert renderings.http_status(error) == status
    problem = renderings.to_problem(error, instance="/v1/x", request_id="r-1")
    assert problem["status"] == status
    assert problem["detail"] == "what is wrong, and the remedy"
    assert (problem["instance"], problem["request_id"]) == ("/v1/x", "r-1")
    assert (problem["code"], problem["reason"]) == (code, error.reason)
    assert "violations" not in problem
    assert renderings.to_oip(error) == {"error": "what is wrong, and the remedy"}
    openai = renderings.to_openai(error)["error"]
    assert openai.keys() == {"message", "type", "param", "code"}
    assert openai["message"] == "what is wrong, and the remedy"
    # openai-python tells the mistakes of callers from those of servers by the status, people
    # by the type.
    ours = {429: "requests"}.get(
        status, "server_error" if status >= 499 else "invalid_request_error"
    )
    assert openai["type"] == ours


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_every_code_has_a_status_and_a_title(code: Code) -> None:
    error = renderings.from_status(int(code), "message", None)
    assert error.code is code or type(error) is errors.UnknownError
    problem = renderings.to_problem(error, instance="/", request_id="")
    assert 400 <= problem["status"] < 600
    assert problem["title"]


def test_a_problem_names_the_fields_at_fault() -> None:
    error = errors.InvalidArgument.of_field("texts[3]", "is empty; send at least one character")
    problem = renderings.to_problem(error, instance="/v1/classify", request_id="r-1")
    assert problem["detail"] == "texts[3] is empty; send at least one character"
    assert problem["violations"] == [
        {"field": "texts[3]", "description": "is empty; send at least one character"}
    ]


QUOTA = errors.QuotaViolation("key", "key:a1b2c3", "600 requests a minute")


def test_a_quota_names_its_policy_everywhere() -> None:
    error = errors.QuotaExceeded("over the limit", quotas=[QUOTA], retry_delay_s=1.5)
    problem = renderings.to_problem(error, instance="/v1/classify", request_id="r-1")
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["key"]
    assert renderings.to_openai(error)["error"]["code"] == "rate_limit_exceeded"
    details = {detail.TypeName(): detail for detail in renderings.to_status(error).details}
    failure = error_details_pb2.QuotaFailure()
    details["google.rpc.QuotaFailure"].Unpack(failure)
    (violation,) = failure.violations
    assert (violation.subject, violation.quota_id) == ("key:a1b2c3", "key")
    assert violation.description == "600 requests a minute"


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        (errors.TOKEN_LIMIT, "tokens", "rate_limit_exceeded"),
        (errors.BUDGET, "insufficient_quota", "insufficient_quota"),
    ],
)
def test_limits_of_tokens_and_money_say_which_they_are(reason: str, kind: str, code: str) -> None:
    error = errors.QuotaExceeded("over the limit", reason=reason, quotas=[QUOTA], retryable=False)
    assert renderings.http_status(error) == 429
    body = renderings.to_openai(error)["error"]
    assert (body["type"], body["code"]) == (kind, code)
    problem = renderings.to_problem(error, instance="/v1/x", request_id="r-1")
    assert problem["type"].endswith("#quota-exceeded")
    status = renderings.to_status(error)
    details = status.SerializeToString()
    back = renderings.from_status(int(error.code), error.message, details)
    assert type(back) is errors.QuotaExceeded
    assert (back.reason, back.retryable, back.quotas) == (reason, False, error.quotas)


def test_reduced_capacity_has_a_type_and_an_outage_has_none() -> None:
    shed = renderings.to_problem(errors.Overloaded("full"), instance="/", request_id="")
    gone = renderings.to_problem(errors.Unavailable("gone"), instance="/", request_id="")
    assert shed["type"].endswith("#temporary-reduced-capacity")
    assert gone["type"] == "about:blank"
    assert shed["status"] == gone["status"] == 503


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (errors.Unauthenticated("no key", reason="KEY_MISSING"), "invalid_api_key", None),
        (errors.NotFound("no model", reason="MODEL_NOT_FOUND"), "model_not_found", None),
        (errors.InvalidArgument.of_field("messages", "is empty"), None, "messages"),
        (errors.Overloaded("full"), "overloaded", None),
    ],
)
def test_openai_clients_find_the_codes_they_know(
    error: MeshError, code: str | None, param: str | None
) -> None:
    found = renderings.to_openai(error)["error"]
    assert (found["code"], found["param"]) == (code, param)


def test_a_fault_shows_nothing_of_itself() -> None:
    error = renderings.from_exception(ZeroDivisionError("a secret"))
    assert isinstance(error, errors.Internal)
    assert "secret" not in error.message


texts = st.text(max_size=50)


@given(
    error_type=st.sampled_from([error_type for error_type, *_ in EVERY_ERROR]),
    message=texts,
    violations=st.lists(st.builds(FieldViolation, texts, texts), max_size=3),
    quotas=st.lists(st.builds(QuotaViolation, texts, texts, texts), max_size=3),
    retry_delay_ms=st.none() | st.integers(1, 10**7),
    metadata=st.dictionaries(texts, texts, max_size=3),
)
def test_an_error_survives_the_wire(
    error_type: type[MeshError],
    message: str,
    violations: list[FieldViolation],
    quotas: list[QuotaViolation],
    retry_delay_ms: int | None,
    metadata: dict[str, str],
) -> None:
    delay_s = retry_delay_ms / 1000 if retry_delay_ms and error_type.default_retryable else None
    sent = error_type(
        message,
        violations=violations,
        quotas=quotas,
        retry_delay_s=delay_s,
        metadata=metadata,
    )
    status = renderings.to_status(sent)
    received = renderings.from_status(status.code, status.message, status.SerializeToString())
    assert type(received) is error_type
    assert received.message == message
    assert received.reason == sent.reason
    assert received.violations == tuple(violations)
    assert received.quotas == tuple(quotas)
    assert received.metadata == metadata
    assert received.retryable is sent.retryable
    assert received.retry_delay_s == delay_s


@given(st.binary(max_size=200), st.integers(-5, 50))
def test_any_bytes_for_details_leave_code_and_message(details: bytes, code: int) -> None:
    error = renderings.from_status(code, "message", details)
    assert error.message == "message"


def test_the_error_of_an_item_says_what_programs_need() -> None:
    message = renderings.to_item_error(errors.Overloaded("the queue is full", retry_delay_s=1))
    assert (message.code, message.reason) == (Code.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert (message.message, message.retryable) == ("the queue is full", True)


def test_several_fields_at_fault_are_told_in_one_message() -> None:
    violations = [FieldViolation(f"texts[{index}]", "is empty") for index in range(5)]
    few = errors.InvalidArgument.of_fields(violations[:2])
    assert few.message == "texts[0] is empty; texts[1] is empty"
    many = errors.InvalidArgument.of_fields(violations)
    assert many.message == "texts[0] is empty; texts[1] is empty; texts[2] is empty; and 2 more"
    assert many.violations == tuple(violations)
