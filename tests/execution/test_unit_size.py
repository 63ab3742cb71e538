"""How large units are when nobody says: the table of docs/units.md, its bounds, and resuming."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bench.models.shapes import SHAPES
from pipeline.candidates.inputs import open_input
from pipeline.candidates.planning import plan_units
from pipeline.candidates.sample import sample_lists
from pipeline.config import InputConfig, JobConfig, ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.execution.preparation import prepare, prepare_again
from pipeline.execution.unit_size import (
    MOST_BYTES,
    MOST_DOCUMENTS,
    NO_NETWORK_S,
    RATES,
    SECONDS,
    Cost,
    chosen,
    measured,
)
from pipeline.networks.flops import Network
from pipeline.rerankers.base import WeightedReranker
from tests.execution.drivers import lexical_job
from tests.makers import long_table, nested_table, write

ROOT = Path(__file__).resolve().parents[2]

#: Shape, tokens of a pair, those of them that pairs of a query share, and whether a list of 100
#: documents is read as a whole: passages of 75 tokens and queries of 7.5, as in `msmarco`.
MODELS: tuple[tuple[str, int, int, bool], ...] = (
    ("minilm-l6", 86, 0, False),
    ("xlmr-base", 88, 0, False),
    ("jina-turbo", 88, 0, False),
    ("qwen3-0.6b", 150, 60, False),
    ("jina-v3", 85, 0, True),
    ("jina-m0", 96, 0, False),
)


def cost_of(name: str, tokens: int, shared: int, whole: bool) -> Cost:
    """Of one document of a list of 100."""
    network, count = Network.of(SHAPES[name].config), 100
    lengths = [tokens * count] if whole else [tokens - shared] * count
    before = np.full(len(lengths), shared) if shared else None
    return Cost(
        flops=network.flops(np.array(lengths, dtype=np.int64), before) / count,
        tokens=sum(lengths) / count,
        size=1_000.0,
        listed=100.0,
        pointwise=not whole,
    )


def test_the_table_of_the_documentation_is_what_is_chosen() -> None:
    rows = ["| model | a document | CPU | GPU |", "|---|---|---|---|"]
    for name, *texts in MODELS:
        cost = cost_of(name, *texts)
        sizes = [chosen(cost, kind, documents=10**8) for kind in ("cpu", "cuda")]
        cells = [f"{size.documents:,} (first {size.first:,})" for size in sizes]
        rows.append(f"| {name} | {cost.flops / 1e9:,.1f} GFLOP | {cells[0]} | {cells[1]} |")
    table = "\n".join(rows)
    assert table in (ROOT / "docs" / "units.md").read_text(encoding="utf-8"), table


costs = st.builds(
    Cost,
    flops=st.floats(1e3, 1e14),
    tokens=st.floats(1, 1e5),
    size=st.floats(10, 1e8),
    listed=st.floats(1, 2_000),
    pointwise=st.booleans(),
)


@given(costs, st.sampled_from(["cpu", "cuda"]), st.integers(1, 10**9))
def test_a_unit_is_one_list_or_stays_within_its_bounds(
    cost: Cost, kind: str, documents: int
) -> None:
    size = chosen(cost, kind, documents=documents)
    assert 1 <= size.first <= size.documents
    if size.documents > math.ceil(cost.listed):
        assert size.documents <= MOST_DOCUMENTS
        assert size.documents * cost.size <= MOST_BYTES + cost.size * cost.listed
        work = size.documents * cost.flops / RATES[kind]
        assert work <= SECONDS[kind] + cost.flops * cost.listed / RATES[kind]


def test_a_slower_model_and_device_get_smaller_units_and_a_small_input_several() -> None:
    light, heavy = (cost_of(*MODELS[place]) for place in (0, 3))
    assert chosen(light, "cuda", documents=10**8).documents == MOST_DOCUMENTS
    on_gpu, on_cpu = (chosen(light, kind, documents=10**8).documents for kind in ("cuda", "cpu"))
    assert on_gpu > on_cpu > chosen(heavy, "cpu", documents=10**8).documents
    assert 16 <= 10**6 / chosen(light, "cuda", documents=10**6).documents <= 20
    assert chosen(light, "cuda", documents=1_000).documents == 10_000  # no smaller than the first
    assert "memory" in chosen(replace(light, size=1e6), "cuda", documents=10**8).reason


@pytest.mark.parametrize("layout", ["long", "nested"])
@given(first=st.integers(1, 40), growth=st.integers(1, 8), group=st.integers(1, 200))
def test_units_grow_to_their_size_and_cover_every_row(
    tmp_path_factory: pytest.TempPathFactory, layout: str, first: int, growth: int, group: int
) -> None:
    table = long_table(queries=60)
    if layout == "nested":
        table = nested_table(table)
    path = write(tmp_path_factory.mktemp("in") / "a.parquet", table, row_group_size=group)
    source = open_input(InputConfig(path=(str(path),)))
    plan = plan_units(source, documents=first * growth, first=first, fingerprint="f")
    edges = [(unit.start, unit.stop) for unit in plan.units]
    assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
    assert edges[-1][1] == table.num_rows
    if layout == "long":
        done = 0
        for unit in plan.units:
            assert unit.documents <= min(first * growth, max(first, done))
            done += unit.documents


def test_the_sample_is_whole_lists_from_all_over_the_input(tmp_path: Path) -> None:
    table = long_table(queries=400, documents=9)
    for shaped in (table, nested_table(table)):
        path = write(tmp_path / "a.parquet", shaped, row_group_size=97)
        source = open_input(InputConfig(path=(str(path),)))
        found = sample_lists(source, separator=" ")
        queries = [q for lists in found for q in lists.queries.column("query_id").to_pylist()]
        assert len(found) == 4
        assert queries == sorted(set(queries))
        assert queries[0] == "q000"
        assert queries[-1] > "q250"
        sizes = dict(
            zip(*np.unique(table.column("query_id").to_pylist(), return_counts=True), strict=True)
        )
        counted = [n for lists in found for n in np.diff(lists.offsets).tolist()]
        assert counted == [sizes[query] for query in queries]


@pytest.mark.parametrize("golden", ["ms-marco-minilm-tiny", "jina-reranker-v3"])
def test_a_sample_is_counted_as_it_is_encoded(goldens: Path, tmp_path: Path, golden: str) -> None:
    family = {"ms-marco-minilm-tiny": "cross_encoder", "jina-reranker-v3": "jina_v3"}[golden]
    model = ModelConfig(family=family, weights=str(goldens / golden))
    reranker = build_reranker(model)
    assert isinstance(reranker, WeightedReranker)
    path = write(tmp_path / "a.parquet", long_table(queries=6))
    source = open_input(InputConfig(path=(str(path),)))
    [lists] = sample_lists(source, separator=" ")
    cost = measured([lists], reranker, share_prefixes=False)
    tokens = int(reranker.encode(lists).unshared().offsets[-1])
    assert cost.tokens <= tokens / lists.documents.num_rows  # equal pairs are encoded once
    assert cost.flops > 0
    assert cost.listed == lists.documents.num_rows / 6


def job(goldens: Path, path: Path, out: Path, **sections: Any) -> JobConfig:
    return JobConfig.model_validate(
        {
            "model": {
                "family": "cross_encoder",
                "weights": str(goldens / "ms-marco-minilm-tiny"),
            },
            "input": {"path": str(path)},
            "output": {"path": str(out)},
            "engine": {"dtype": "float32"},
            "replicas": {"num_gpus": 0},
        }
        | sections
    )


def test_a_run_is_resumed_with_the_units_that_it_was_begun_with(
    goldens: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=200), row_group_size=50)
    begun = prepare(job(goldens, path, tmp_path / "out"))
    assert begun.size.first < begun.size.documents
    assert prepare(job(goldens, path, tmp_path / "out")).plan == begun.plan
    begun.folder.start(begun.plan, begun.description())
    described = json.loads(Path(begun.folder.file("run.json")).read_text())
    assert described["config"]["units"]["documents"] == "auto"
    assert described["units"]["reason"] == begun.size.reason
    again = prepare_again(begun.folder, ["replicas.num_gpus=1"])
    assert again.plan == begun.plan
    assert again.size == begun.size


def test_what_cannot_be_judged_gets_a_fixed_size(goldens: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=5))
    lexical = job(goldens, path, tmp_path / "out", model={"name": "lexical"})
    assert prepare(lexical).size.documents == 5_000
    explicit = job(goldens, path, tmp_path / "out", units={"documents": 7})
    size = prepare(explicit).size
    assert (size.documents, size.first, size.seconds) == (7, 7, None)


@pytest.mark.parametrize("units", [{}, {"documents": 5}], ids=str)
def test_without_a_network_time_is_by_the_document(tmp_path: Path, units: dict[str, Any]) -> None:
    """So a small job starts no Ray for it; what a family of the user's own costs is not known."""
    table = long_table(queries=16)
    job = lexical_job(write(tmp_path / "in.parquet", table), str(tmp_path / "out"), units=units)
    ours = prepare(JobConfig.model_validate(job))
    assert ours.size.seconds == round(table.num_rows * NO_NETWORK_S, 3)
    family = "tests.execution.families.waiting"
    theirs = JobConfig.model_validate(job | {"model": {"family": family}})
    assert prepare(theirs, allow_code=frozenset({family})).size.seconds is None
