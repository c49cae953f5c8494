"""The page of errors is what the code says."""

from pathlib import Path

from meshkit import error_table
from meshkit.renderings import HTTP_BY_REASON

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == error_table.markdown()


def test_every_reason_with_a_status_of_its_own_has_a_row() -> None:
    page = error_table.markdown()
    assert all(f"| `{reason}` |" in page for reason in HTTP_BY_REASON)
