"""docs/input.md names the formats, layouts and aliases that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from pipeline import schema
from pipeline.sources.kinds import TREC_FIELDS, Format
from pipeline.sources.listing import ENDINGS
from pipeline.sources.roles import ALIASES
from pipeline.sources.streams import MOST_LINE_BYTES
from pipeline.sources.text_layouts import HEADERLESS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "input.md").read_text(encoding="utf-8")
NAMES = set(re.findall(r"`([^`\s]+)`", TEXT))


@pytest.mark.parametrize("role", list(ALIASES))
def test_every_alias_is_listed(role: str) -> None:
    for ours, names in ALIASES[role].items():  # type: ignore[index]
        assert {ours, *names} <= NAMES, ours


def test_the_table_of_names_lists_nothing_else() -> None:
    table = TEXT.partition("## Names of columns")[2].partition("\n\n`input.columns`")[0]
    known = {name for of in ALIASES.values() for ours, names in of.items() for name in names}
    assert set(re.findall(r"`([^`]+)`", table)) == known | set(schema.ALIASES)


def test_formats_layouts_and_limits_are_listed() -> None:
    assert set(get_args(Format)) <= NAMES
    assert f"`{' '.join(TREC_FIELDS)}`" in TEXT
    for layouts in HEADERLESS.values():
        for names in layouts.values():
            assert f"| `{', '.join(names)}` |" in TEXT
    assert {f".{ending.split('.')[1]}" for ending in ENDINGS} <= NAMES
    assert f"more than {MOST_LINE_BYTES >> 20} MiB" in TEXT
