"""What a run of a bench reads: copies in which no pair of a query and a document comes twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import schema
from pipeline.bench.inputs.workloads import WORKLOADS, Work, make
from pipeline.bench.options import BenchOptions
from pipeline.bench.run_input import copies_of, lists_of_a_group, unit_documents, write_input
from pipeline.errors import ConfigurationError


def by_spaces(texts: list[str]) -> np.ndarray:
    return np.array([len(text.split()) for text in texts])


@pytest.fixture(scope="module")
def work() -> Work:
    """Four lists of 50."""
    return make(WORKLOADS["msmarco"], "s", tokens=by_spaces)


def asked(**options: Any) -> BenchOptions:
    return BenchOptions(cache=Path("cache"), end_to_end=True, **options)


def test_copies_hold_every_pair_once(work: Work, tmp_path: Path) -> None:
    write_input(work, tmp_path / "in", copies=4, group=3)
    files = sorted((tmp_path / "in").iterdir())
    assert [pq.read_metadata(path).num_row_groups for path in files] == [2] * 4
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert len({row[schema.QUERY_ID] for row in rows}) == len(rows) == 16
    pairs = [
        (row[schema.QUERY], candidate[schema.TEXT])
        for row in rows
        for candidate in row[schema.CANDIDATES]
    ]
    assert len(set(pairs)) == len(pairs) == 4 * work.documents
    first = rows[: len(work.lists)]
    assert [row[schema.QUERY] for row in first] == work.lists.queries.column(
        schema.QUERY
    ).to_pylist()


@pytest.mark.parametrize(("documents", "copies"), [(None, 1), (200, 1), (201, 2), (800, 4)])
def test_as_many_copies_as_the_documents_need(
    work: Work, documents: int | None, copies: int
) -> None:
    assert copies_of(asked(run_documents=documents), work) == copies


def test_what_would_repeat_pairs_is_refused(work: Work) -> None:
    with pytest.raises(ConfigurationError, match=r"--run-documents: .* ask for 800 or fewer"):
        copies_of(asked(run_documents=801), work)


def test_a_single_list_has_no_pace() -> None:
    work = make(WORKLOADS["list64x100"], "s", tokens=by_spaces)
    with pytest.raises(ConfigurationError, match=r"a single unit.* larger --size"):
        copies_of(asked(workload="list64x100"), work)


def test_a_run_is_cut_into_twelve_units_unless_a_gpu_runs_it(work: Work) -> None:
    assert unit_documents(asked(), 1_200) == 100
    assert unit_documents(asked(), 10**6) == 5_000
    assert unit_documents(asked(device="cuda"), 10**6) is None
    assert unit_documents(asked(device="cuda", unit_documents=40_000), 10**6) == 40_000
    assert lists_of_a_group(work, 100) == 2
    assert lists_of_a_group(work, 101) == 3
    assert lists_of_a_group(work, None) == 20
