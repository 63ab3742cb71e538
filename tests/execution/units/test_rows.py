"""Rows between the stages: numbers add up by section, and what a worker says comes through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputContractError, RerankError, RunFailedError
from pipeline.execution.units import rows

STATISTICS = st.dictionaries(
    st.sampled_from([rows.SECONDS, rows.CPU_SECONDS, rows.ENGINE, rows.STORAGE, rows.UNIT_EVENTS]),
    st.dictionaries(st.sampled_from(["encode", "score", "storage_engine_s"]), st.integers(0, 9)),
)


@given(parts=st.lists(STATISTICS, max_size=4))
def test_statistics_of_a_row_add_up_by_section_and_name(parts: list[rows.Statistics]) -> None:
    row = rows.row({"unit": "u"})
    for part in parts:
        row = rows.with_statistics(row, part)
    total = rows.statistics(row)
    for section in {name for part in parts for name in part}:
        numbers = [part.get(section, {}) for part in parts]
        expected = {key: sum(n.get(key, 0) for n in numbers) for key in set().union(*numbers)}
        assert total[section] == expected
    assert total.keys() == {name for part in parts for name in part}
    assert rows.store_events(total) == {rows.STORAGE: total.get(rows.STORAGE, {})}


def test_adding_leaves_its_arguments_alone() -> None:
    left: rows.Statistics = {rows.STORAGE: {"retries": 1}}
    assert rows.added(left, left) == {rows.STORAGE: {"retries": 2}}
    assert left == {rows.STORAGE: {"retries": 1}}


def test_a_suspect_unit_comes_through_without_secrets() -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    row = rows.suspected("u", failures=3, stderr_tail=f"died with s3://{key}:secret@bucket")
    assert rows.is_final(row)
    suspect = rows.suspect_unit(row)
    assert suspect is not None
    assert (suspect.unit, suspect.failures) == ("u", 3)
    assert suspect.stderr_tail.startswith("died with")
    assert "secret" not in suspect.stderr_tail
    assert rows.suspect_unit(rows.skipped("u")) is None


class OwnError(InputContractError):
    """A class that only the worker knows."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(RunFailedError("why"), RunFailedError), (OwnError("why"), InputContractError)],
)
def test_an_error_comes_through_with_its_nearest_class(
    raised: RerankError, expected: type[RerankError]
) -> None:
    [found] = rows.failed(raised).to_pylist()
    assert json.loads(found[rows.ERROR])[1] == "why"
    with pytest.raises(expected, match=r"^why$"):
        rows.raise_if_failed(found)
    rows.raise_if_failed({rows.ERROR: None})
