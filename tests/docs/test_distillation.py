from __future__ import annotations

from pathlib import Path

from pipeline.distillation.rules import canonical
from pipeline.distillation.rules.reasons import CANDIDATE_REASONS, QUERY_REASONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "distillation.md"


def test_every_reason_is_documented_as_it_is() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [
        f"| `{code}` | {text.replace('|', chr(92) + '|')} |"
        for code, text in (CANDIDATE_REASONS | QUERY_REASONS).items()
    ]
    assert [row for row in rows if row not in lines] == []


def test_every_column_of_the_canonical_set_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = [*canonical.SCHEMA.names, *(field.name for field in canonical.ITEM)]
    assert [name for name in names if f"`{name}`" not in text] == []
