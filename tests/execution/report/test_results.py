"""Distributions of rows that were made by hand, so that every number can be counted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.execution.report.results import results_of
from pipeline.execution.report.units import Sample, sampled
from pipeline.execution.runs.unit_counts import UnitCounts


def sample(lists: list[list[tuple[float | None, int]]]) -> Sample:
    """Of lists, best first, with score and first-stage rank of each document."""
    rows = [
        {
            schema.QUERY_ID: f"q{q}", schema.DOC_ID: f"d{d}", schema.RANK: d + 1,
            schema.SCORE: score, schema.FIRST_STAGE_RANK: before,
        }
        for q, documents in enumerate(lists)
        for d, (score, before) in enumerate(documents)
    ]  # fmt: skip
    kinds = [pa.string(), pa.string(), pa.int32(), pa.float32(), pa.int32()]
    names = list(rows[0]) if rows else [schema.QUERY_ID, schema.DOC_ID, schema.RANK, schema.SCORE,
                                        schema.FIRST_STAGE_RANK]  # fmt: skip
    table = pa.Table.from_pylist(
        rows, schema=pa.schema([pa.field(n, k) for n, k in zip(names, kinds, strict=True)])
    )
    return Sample(
        table=table,
        lists=np.repeat(np.arange(len(lists)), [len(one) for one in lists]),
        chosen=(UnitCounts(unit="0", queries=len(lists), documents=table.num_rows, tokens=0),),
        of_units=1,
        of_documents=table.num_rows,
        unreadable=0,
    )


def test_ties_are_counted_within_lists_alone() -> None:
    found = results_of(
        sample(
            [
                [(3.0, 1), (1.0, 2), (1.0, 3)],  # two tied
                [(1.0, 1), (1.0, 2)],  # one score throughout
                [(1.0, 1)],  # one document ties with nothing
                [(2.0, 2), (1.0, 1), (None, 3)],  # what has no score ties with nothing
            ]
        )
    )["ties"]
    assert found == {"documents": 4, "lists_in_first_ten": 2, "constant_lists": 1, "lists": 3}


def test_ties_past_the_first_ten_are_told_apart() -> None:
    scores = [float(20 - n) for n in range(12)] + [0.0, 0.0]
    found = results_of(sample([[(score, n + 1) for n, score in enumerate(scores)]]))["ties"]
    assert (found["documents"], found["lists_in_first_ten"]) == (2, 0)


def test_the_first_ten_are_counted_by_the_ranks_that_they_had() -> None:
    found = results_of(sample([[(2.0, 1), (1.0, 250)], [(2.0, 3), (1.0, 1000)]]))["ranks"]
    assert dict(zip(found["bands"], found["came_from"], strict=True)) == {
        "1": 1, "2–3": 1, "4–10": 0, "11–30": 0, "31–100": 0, "101–300": 1, "over 300": 1,
    }  # fmt: skip
    assert found["first_kept"] == 0.5


def test_the_same_order_agrees_wholly() -> None:
    found = results_of(sample([[(3.0, 1), (2.0, 2), (1.0, 3)]]))["ranks"]
    assert (found["rbo"], found["overlap"], found["tau"]) == (pytest.approx(1.0), 1.0, 1.0)
    assert found["moved"]["0.99"] == 0


def test_every_score_is_in_the_histogram_once() -> None:
    found = results_of(sample([[(3.0, 1), (2.0, 2), (None, 3)], [(-1.0, 1)]]))["scores"]
    assert (sum(found["all"]), sum(found["first"])) == (3, 2)
    assert (found["quantiles"]["0"], found["quantiles"]["1"]) == (-1.0, 3.0)


def test_lists_without_any_score_have_no_distribution() -> None:
    found = results_of(sample([[(None, 1)], [(None, 1)]]))
    assert found["scores"] is None
    assert found["ties"] == {
        "documents": 0, "lists_in_first_ten": 0, "constant_lists": 0, "lists": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("count", "documents", "chosen"),
    [(0, 1, 0), (3, 10, 3), (1_000, 10, 24), (1_000, 50_000, 4), (3, 0, 0), (2, 300_000, 1)],
)
def test_large_runs_are_sampled_evenly(count: int, documents: int, chosen: int) -> None:
    units = [
        UnitCounts(unit=f"{n:024x}", queries=1, documents=documents, tokens=0) for n in range(count)
    ]
    found = sampled(units)
    assert len(found) == chosen
    assert found == sampled(units)
    if chosen > 1:
        assert (found[0], found[-1]) == (units[0], units[-1])
