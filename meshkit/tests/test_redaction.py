import pytest

from meshkit.errors import FieldViolation, InvalidArgument, NotFound
from meshkit.keys import ApiKey
from meshkit.redaction import holds_credential, redacted

KEY = ApiKey.generate()
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9m_-A"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/v1/{KEY.text}/x", f"/v1/mesh_{KEY.id}_***/x"),
        (f"{KEY.text},{KEY.text}", f"mesh_{KEY.id}_***,mesh_{KEY.id}_***"),
        (f"cut {KEY.text[:25]}", f"cut mesh_{KEY.id}_***"),
        (f"Bearer {TOKEN}", "Bearer ***"),
        (TOKEN.rpartition(".")[0], "***"),
        (f'"{TOKEN}" and more.', '"***" and more.'),
    ],
    ids=["in a path", "two", "cut", "token", "cut token", "quoted"],
)
def test_credentials_are_masked(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert holds_credential(text)


@pytest.mark.parametrize(
    "text",
    ["", "mesh_gateway.access", f"mesh_{KEY.id}", "eyJ", "Hey there"],
    ids=["nothing", "name", "id of a key", "beginning of a token", "words"],
)
def test_what_is_none_stays(text: str) -> None:
    assert redacted(text) == text
    assert not holds_credential(text)


def test_an_error_quotes_none() -> None:
    error = InvalidArgument(
        f"{KEY.text} is wrong",
        violations=[FieldViolation(KEY.text, f"is {TOKEN}")],
        metadata={"model": TOKEN},
    )
    masked = f"mesh_{KEY.id}_***"
    assert str(error) == error.message == f"{masked} is wrong"
    assert error.violations == (FieldViolation(masked, "is ***"),)
    assert error.metadata == {"model": "***"}
    assert str(NotFound(f"there is no {KEY.text}")) == f"there is no {masked}"
