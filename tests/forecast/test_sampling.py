"""A sample of an input: what it reads, and that of everything it counts what a run counts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates.planning import Unit
from pipeline.config import JobConfig
from pipeline.execution.forecasting import forecast_of, subject_of
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.forecast.forecast import Asked
from pipeline.forecast.plain import plain
from pipeline.forecast.sampling import ranges_of, take_sample
from pipeline.reports.forecast_table import forecast_lines
from tests.makers import long_table, nested_table, write


def job(path: Path, folder: Path, model: Path | str, documents: int = 40) -> JobConfig:
    name = {"name": "lexical"} if model == "lexical" else {"name": str(model)}
    return JobConfig.model_validate(
        {
            "model": name,
            "input": {"path": str(path)},
            "output": {"path": str(folder / "out"), "formats": ["parquet", "trec"]},
            "units": {"documents": documents},
            "ray": {"mode": "in_process"},
        }
    )


@given(
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=80),
    documents=st.integers(1, 20_000),
)
def test_ranges_lie_in_the_input_apart_and_within_what_is_asked_for(
    sizes: list[int], documents: int
) -> None:
    units, first = [], 0
    for size in sizes:
        units.append(Unit(name="", start=first, stop=first + size, documents=size))
        first += size
    ranges, whole = ranges_of(units, documents)
    assert ranges
    assert all(0 <= start < stop <= first for start, stop in ranges)
    assert all(a[1] <= b[0] or not whole for a, b in pairwise(ranges))
    if whole:
        assert set(ranges) <= {(unit.start, unit.stop) for unit in units}
    if documents >= first:
        assert len(ranges) == len(units)


@pytest.mark.parametrize("layout", ["long", "nested"])
def test_a_sample_of_everything_counts_what_a_run_counts(
    layout: str, goldens: Path, tmp_path: Path
) -> None:
    table = long_table(queries=30, documents=9)
    path = write(tmp_path / "in.parquet", table if layout == "long" else nested_table(table))
    prepared = prepare(job(path, tmp_path, goldens / "ms-marco-minilm-tiny"))
    facts = plain(forecast_of(prepared))
    manifest = execute(prepared).manifest
    assert facts["tokens"] == {"value": pytest.approx(manifest["tokens"]), "margin": 0}
    assert facts["queries"]["value"] == pytest.approx(manifest["queries"])
    assert facts["documents"] == manifest["documents"]
    assert sum(row["value"] for row in facts["lengths"]["shares"]) == pytest.approx(1)
    stored = sum(file["size"] for unit in manifest["units"] for file in unit["files"])
    assert facts["output_bytes"]["value"] == pytest.approx(stored, rel=0.25)


def test_of_a_larger_input_a_sample_is_near_and_says_how_near(
    goldens: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=400, documents=9), row_group_size=100)
    prepared = prepare(job(path, tmp_path, goldens / "ms-marco-minilm-tiny", documents=20))
    whole = plain(forecast_of(prepared))["tokens"]["value"]
    facts = plain(forecast_of(prepared, Asked(sample=500)))
    assert facts["sample"]["documents"] < 700
    assert facts["sample"]["whole_units"]
    assert 0 < facts["tokens"]["margin"] < 0.2 * whole
    assert facts["tokens"]["value"] == pytest.approx(whole, rel=0.1)
    few = plain(forecast_of(prepared, Asked(sample=100)))
    assert not few["sample"]["whole_units"]
    assert few["tokens"]["value"] == pytest.approx(whole, rel=0.3)


def test_copies_in_a_list_are_told_from_texts_that_several_lists_have(tmp_path: Path) -> None:
    table = long_table(queries=10, documents=5)
    same = table.set_column(3, "text", pa.array(["the same"] * table.num_rows))
    prepared = prepare(job(write(tmp_path / "in.parquet", same), tmp_path, "lexical"))
    sample = take_sample(subject_of(prepared))
    assert sample is not None
    assert sample.repeated == pytest.approx(1 - 1 / table.num_rows)
    assert sum(piece.duplicates for piece in sample.pieces) == table.num_rows - 10
    assert any("duplicates" in warning for warning in forecast_of(prepared).warnings)


def test_texts_that_are_missing_are_no_copies_of_each_other(tmp_path: Path) -> None:
    table = long_table(queries=10, documents=5)
    none = table.set_column(3, "text", pa.nulls(table.num_rows, pa.string()))
    forecast = forecast_of(prepare(job(write(tmp_path / "in.parquet", none), tmp_path, "lexical")))
    facts = plain(forecast)
    assert facts["duplicate_share"] == {"value": 0, "margin": 0}
    assert (facts["repeated_share"], facts["lengths"]["shares"]) == (0, [])
    assert facts["tokens"]["value"] == 0
    assert list(forecast_lines(facts))
    assert not forecast.warnings


def test_few_sequences_have_no_long_tail(tmp_path: Path) -> None:
    table = long_table(queries=2, documents=2)
    texts = ["word " * 500, *["word"] * (table.num_rows - 1)]
    uneven = table.set_column(3, "text", pa.array(texts))
    forecast = forecast_of(
        prepare(job(write(tmp_path / "in.parquet", uneven), tmp_path, "lexical"))
    )
    assert not any("long tail" in warning for warning in forecast.warnings)


def test_a_family_without_a_network_has_no_time(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table())
    facts = plain(forecast_of(prepare(job(path, tmp_path, "lexical"))))
    assert facts["devices"] == []
    assert facts["documents"] > 0
