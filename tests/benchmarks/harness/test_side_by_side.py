"""A whole comparison with tiny networks: what is measured, compared, and refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.contender import Contender
from benchmarks.harness.preparing import CompareOptions, prepare
from benchmarks.harness.side_by_side import measure
from pipeline.bench.engines import BenchEngine, Scored
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError


def measured(cache: Path, workload: str = "msmarco", **options: object) -> dict:
    return measure(prepare(asked(cache, workload, **options))).plain()


def asked(cache: Path, workload: str = "msmarco", **options: object) -> CompareOptions:
    return CompareOptions(workload=workload, cache=cache, scale="tiny", **options)  # type: ignore[arg-type]


class Shifted(Contender):
    """A peer whose scores are not ours."""

    name, about = "shifted", "adds a little"

    def __init__(self, engine: BenchEngine) -> None:
        self.engine = engine

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        return Scored(scores=self.engine.score(units).scores + np.float32(1e-3))


@pytest.fixture(scope="module")
def result(cache: Path) -> dict:
    prepared = prepare(asked(cache, every_way=True, peers=("jina-v2-policy",), unit_documents=60))
    prepared.others.append(Shifted(prepared.base.engine))
    return measure(prepared).plain()


def test_the_result_is_plain_data(result: dict) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result


PUBLISHED = sorted((Path(__file__).parents[3] / "benchmarks" / "results").glob("cpu-*.json"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_keys_are_those_of_published_results(path: Path, result: dict) -> None:
    """So that one program reads both; where a run went through Ray is said only there."""
    published = json.loads(path.read_text())
    assert published.keys() - {"command", "end_to_end"} == result.keys()
    for key in ("workload", "model", "peak", "host", "load_average"):
        assert published[key].keys() == result[key].keys()
    for theirs, ours in zip(published["contenders"], result["contenders"], strict=False):
        assert theirs.keys() == ours.keys()
    network = published["contenders"][0]["network_only"]
    assert network.keys() == result["contenders"][0]["network_only"].keys()
    assert all(row.keys() == result["ratios"][0].keys() for row in published["ratios"])
    assert all(pair.keys() == result["agreement"][0].keys() for pair in published["agreement"])


def test_everyone_is_measured_and_the_base_is_packed(result: dict) -> None:
    names = [each["name"] for each in result["contenders"]]
    assert names == ["packed", "padded", "jina-v2-policy", "shifted"]
    assert result["base"] == "packed"
    assert [each["ours"] for each in result["contenders"]] == [True, True, False, False]


def test_packed_wastes_nothing_and_the_others_something(result: dict) -> None:
    waste = {each["name"]: each["padding_waste"] for each in result["contenders"]}
    assert waste["packed"] == 0
    assert 0 < waste["padded"] < waste["jina-v2-policy"] < 1


def test_a_peer_with_other_scores_is_reported_and_not_compared(result: dict) -> None:
    assert result["not_compared"] == ["shifted"]
    assert {row["name"] for row in result["ratios"]} == {"padded", "jina-v2-policy"}
    pair = next(p for p in result["agreement"] if p["second"] == "shifted")
    assert pair["most"] == pytest.approx(1e-3, rel=1e-2)
    assert pair["tau"] == 1
    assert len(result["agreement"]) == 6  # every pair of four


def test_figures_follow_from_the_rounds(result: dict) -> None:
    documents = result["workload"]["documents"]
    for each in result["contenders"]:
        wall, cpu = each["wall_s"], each["cpu_s"]
        assert wall["least"] <= wall["median"] <= wall["most"]
        assert each["documents_per_s"] == pytest.approx(documents / wall["median"])
        assert each["documents_per_cpu_s"] == pytest.approx(documents / cpu["median"])
        useful = result["model"]["gflop_per_document"] * 1e9 * each["documents_per_cpu_s"]
        assert each["mfu_cpu"] == pytest.approx(useful / result["peak"]["flop_per_cpu_s"])
    ours = result["contenders"][0]
    assert set(ours["stages"]) == {"encode", "forward", "decode"}
    assert sum(stage["wall_s"] for stage in ours["stages"].values()) <= ours["wall_s"]["most"]
    assert ours["device_busy"] + ours["device_starved"] == pytest.approx(1)
    assert ours["peak_rss_bytes"] > 2**26


def test_the_host_and_the_machine_are_told(result: dict) -> None:
    host = result["host"]
    assert set(host["cpu_s_per_1000_documents"]) == {"encode", "carry", "rank", "write"}
    tokens = result["workload"]["tokens"] / result["workload"]["documents"]
    # int32 ids, int8 types, and little else.
    assert 4 * tokens < host["object_store_bytes_per_document"] < 8 * tokens + 64
    assert result["machine"]["logical_cpus"] >= 1
    assert {"torch", "transformers", "python"} <= set(result["versions"])
    assert len(result["load_average"]["before"]) == 3


def test_under_three_rounds_there_is_no_ratio(cache: Path) -> None:
    found = measured(cache, peers=("jina-v2-policy",), rounds=2)
    assert [row["wall"] for row in found["ratios"]] == [None]
    assert len(found["contenders"]) == 2


def test_the_digest_does_not_depend_on_units_or_contenders(cache: Path, result: dict) -> None:
    found = measured(cache, peers=(), rounds=1)
    assert found["workload"]["digest"] == result["workload"]["digest"]
    other = measured(cache, peers=(), rounds=1, seed=1)
    assert other["workload"]["digest"] != result["workload"]["digest"]


@pytest.mark.parametrize(
    ("workload", "model"),
    [("yesno", None), ("page768", None), ("list64x100", None), ("doc1024", "jina-turbo")],
)
def test_every_architecture_is_compared_with_its_peers(
    cache: Path, workload: str, model: str | None
) -> None:
    found = measured(cache, workload, model=model, reuse=2, rounds=1)
    assert found["not_compared"] == []
    assert found["ratios"], "nobody to compare with"
    waste = {each["name"]: each["padding_waste"] for each in found["contenders"]}
    assert waste.get("packed", 0) == 0
    assert all(0 <= share < 1 for share in waste.values())


def test_shared_beginnings_count_once(cache: Path) -> None:
    found = measured(cache, "yesno", peers=("unshared",), rounds=1)
    work = found["workload"]
    assert work["tokens_shared"] < work["tokens"]
    assert [each["name"] for each in found["contenders"]] == ["packed", "unshared"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workload": "msmarc"}, "no workload 'msmarc'; there are msmarco"),
        ({"model": "jina-v3"}, "jina-v3 does not suit the workload msmarco"),
        ({"model": "bert"}, "'bert' is no shape"),
        ({"peers": ("jina-m0-policy",)}, "cannot run the model minilm-l6"),
    ],
)
def test_what_does_not_go_together_is_refused(
    cache: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        prepare(asked(cache, **options))  # type: ignore[arg-type]


def test_rounds_end_in_time_and_the_first_is_always_whole(cache: Path) -> None:
    prepared = prepare(asked(cache, peers=(), rounds=3))
    found = measure(prepared, until=0.0, runs=False)
    assert found.facts.rounds == 1
    assert found.contenders[0].figures.wall_s.median > 0
