from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import DistillConfig
from pipeline.distillation.preparation import prepare_distillation
from pipeline.distillation.rules import canonical
from pipeline.distillation.rules.texts import character_shingles, jaccard, normalised
from pipeline.distillation.run import distill
from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    InputContractError,
    NotFoundError,
    RunFailedError,
)
from pipeline.execution.outcome import Outcome
from pipeline.hashes import stable_hashes
from tests.distillation.teacher_runs import write_run
from tests.makers import long_table, nested_table, write

ROOT = Path(__file__).resolve().parents[2]

Distill = Callable[..., Outcome]


def drawn(seed: str) -> Callable[[str, str], float]:
    """A teacher whose scores are a function of the ids."""

    def score(query: str, doc: str) -> float:
        return float(stable_hashes([f"{query}/{doc}"], salt=seed)[0] >> np.uint64(40)) / 2**20 - 8

    return score


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", long_table(queries=24, documents=12), row_group_size=10)


@pytest.fixture
def teach(tmp_path: Path) -> Distill:
    """Distils ``teachers`` into ``output`` below the test's folder, in this process.

    What a set holds is the same wherever its units are mined, which the tests on Ray show.
    """
    return partial(_teach, tmp_path, {"mode": "in_process"})


@pytest.fixture
def teach_on_ray(ray_cluster: None, tmp_path: Path) -> Distill:
    """The same on Ray."""
    return partial(_teach, tmp_path, {"read_cpus": 1})


def _teach(
    folder: Path, ray: dict[str, Any], teachers: Any, /, *, output: str = "sets", **sections: Any
) -> Outcome:
    config = config_of(teachers, folder / output, {"ray": ray} | sections)
    return distill(prepare_distillation(config))


def config_of(teachers: Any, output: Path, sections: dict[str, Any]) -> DistillConfig:
    runs = teachers if isinstance(teachers, list) else [teachers]
    named = [one if isinstance(one, dict) else {"run": str(one)} for one in runs]
    base = {"teachers": named, "output": {"path": str(output)}, "ray": {"read_cpus": 1}}
    return DistillConfig.model_validate(base | sections)


def rows_of(done: Outcome, split: str = "train") -> list[dict[str, Any]]:
    return [row for part in canonical.read_parts(done.folder, split) for row in part.to_pylist()]


def everything(done: Outcome) -> list[dict[str, Any]]:
    rows = rows_of(done, "train") + rows_of(done, "dev")
    return sorted(rows, key=lambda row: row["query_id"])


def rejects_of(done: Outcome) -> dict[tuple[str, str], str]:
    table = pq.ParquetDataset(f"{done.folder}/rejects").read()
    return {(row["query_id"], row["doc_id"]): row["reason"] for row in table.to_pylist()}


def digests(folder: str | Path) -> dict[str, str]:
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    # set.json names the folders that a job was given.
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.name != "set.json"
    }


def test_every_candidate_is_used_or_rejected_and_the_files_say_so(
    teach: Distill, tmp_path: Path, source: Path
) -> None:
    score = drawn("a")
    run = write_run(tmp_path / "a", source, score)
    done = teach(run, negatives={"absolute_margin": 1.0}, split={"dev_fraction": 0.2})
    table = pq.read_table(source)
    listed = set(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    texts = dict(zip(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True),
                     table["text"].to_pylist(), strict=True))  # fmt: skip
    used = []
    for row in everything(done):
        (positive,) = row["positives"]
        mine = sorted((score(q, d) for q, d in listed if q == row["query_id"]), reverse=True)
        assert positive["score"] == pytest.approx(mine[0])
        assert positive["rank"] == 1
        limit = np.float32(positive["score"]) - 1.0
        scores = [one["score"] for one in row["negatives"]]
        assert scores == sorted(scores, reverse=True)
        assert all(one <= limit for one in scores)
        for one in [positive, *row["negatives"]]:
            pair = (row["query_id"], one["doc_id"])
            used.append(pair)
            assert one["text"] == texts[pair]
            assert one["score"] == pytest.approx(score(*pair))
    rejected = rejects_of(done)
    assert Counter(used) + Counter(rejected.keys()) == Counter(listed)
    counted = Counter(rejected.values())
    assert done.manifest["candidates_rejected"] == dict(counted)
    table = pq.read_table(f"{done.folder}/rejected.parquet").to_pylist()
    assert {r["reason"]: r["count"] for r in table if r["level"] == "candidate"} == dict(counted)
    assert {"absolute_margin", "not_sampled"} <= set(counted)
    part = canonical.read_description(done.folder)
    assert part["teachers"][0]["name"] == "teacher"
    assert part["teachers"][0]["licence"] == "apache-2.0"
    assert part["set_id"] == Path(done.folder).name
    manifest = json.loads(Path(done.folder, "manifest.json").read_text())
    assert manifest["splits"]["train"]["queries"] == len(rows_of(done, "train"))
    assert manifest["splits"]["dev"]["queries"] == len(rows_of(done, "dev")) > 0
    assert sum(manifest["histograms"]["candidates"]) == len(listed)
    kept = [[i["score"] for i in r["positives"] + r["negatives"]] for r in everything(done)]
    assert manifest["temperature"]["suggested"] == pytest.approx(
        np.mean([np.std(one) for one in kept if len(one) > 1]), rel=1e-6
    )


def test_the_set_does_not_depend_on_workers_units_or_layout(
    teach: Distill, teach_on_ray: Distill, tmp_path: Path
) -> None:
    table = long_table(queries=24, documents=12)
    long = write(tmp_path / "long.parquet", table, row_group_size=10)
    nested = write(tmp_path / "nested.parquet", nested_table(table))
    rules = {
        "negatives": {"sampling_strategy": "random", "max_per_document": 4, "num_negatives": 2},
        "split": {"dev_fraction": 0.25},
        "seed": 3,
    }
    run = write_run(tmp_path / "a", long, drawn("a"), documents=15)
    first = teach(run, output="one", **rules)
    for output, ray in (("two", {"read_cpus": 4}), ("three", {"read_cpus": 1})):
        assert digests(teach_on_ray(run, output=output, ray=ray, **rules).folder) == digests(
            first.folder
        )
    for name, path, documents in (("big", long, 10_000), ("small", long, 6), ("nest", nested, 30)):
        other = teach(
            write_run(tmp_path / name, path, drawn("a"), documents=documents), output=name, **rules
        )
        assert everything(other) == everything(first), name
        assert rows_of(other, "dev") == rows_of(first, "dev"), name
        assert rejects_of(other) == rejects_of(first), name
    uses = Counter(one["doc_id"] for row in everything(first) for one in row["negatives"])
    assert max(uses.values()) == 4
    assert first.manifest["candidates_rejected"]["document_cap"] > 0


def test_several_teachers_are_joined_by_id_whatever_their_plans(
    teach: Distill, tmp_path: Path, source: Path
) -> None:
    one = write_run(tmp_path / "a", source, drawn("a"), name="a", documents=20)
    table = pq.read_table(source)
    # The same ids in other files, cut elsewhere, in another order of queries; one list is gone.
    other_order = table.sort_by([("query_id", "descending")])
    kept = pa.compute.not_equal(other_order["query_id"], "q007")
    other = write(tmp_path / "other.parquet", other_order.filter(kept))

    def second(query: str, doc: str) -> float | None:
        return None if (query, doc) == ("q003", "d0") else 100 * drawn("b")(query, doc)

    two = write_run(tmp_path / "b", other, second, name="b", scale="cosine", documents=17)
    teachers = [{"run": str(one), "weight": 3}, {"run": str(two), "weight": 1}]
    rules = {"method": "weighted", "scores": "standardised"}
    done = teach(teachers, combination=rules, split={"dev_fraction": 0})
    pairs = list(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    a = np.array([drawn("a")(*pair) for pair in pairs], dtype=np.float32).astype(float)
    b = {p: second(*p) for p in pairs if p[0] != "q007" and p != ("q003", "d0")}
    values = np.array([np.float32(v) for v in b.values()], dtype=float)
    expected = {
        pair: 0.75 * (x - a.mean()) / a.std() + 0.25 * (b[pair] - values.mean()) / values.std()
        for pair, x in zip(pairs, a, strict=True)
        if pair in b
    }
    found = {
        (row["query_id"], item["doc_id"]): item["score"]
        for row in everything(done)
        for item in row["positives"] + row["negatives"]
    }
    assert found
    assert all(score == pytest.approx(expected[p], abs=1e-4) for p, score in found.items())
    rejected = rejects_of(done)
    assert rejected["q003", "d0"] == "missing_teacher"
    gone = [pair for pair in pairs if pair[0] == "q007"]
    assert {rejected[pair] for pair in gone} == {"missing_teacher"}
    gap = done.manifest["coverage"]["teachers"]
    assert [one["unscored"] for one in gap] == [0, len(gone) + 1]
    assert done.manifest["coverage"]["by_teachers"] == [0, len(gone) + 1, len(b)]
    either = teach(teachers, output="any", combination=rules | {"coverage": "any"})
    assert "missing_teacher" not in either.manifest["candidates_rejected"]
    assert "q007" in {row["query_id"] for row in everything(either)}


def test_rank_fusion_and_scales(teach: Distill, tmp_path: Path, source: Path) -> None:
    one = write_run(tmp_path / "a", source, drawn("a"), name="a")
    two = write_run(tmp_path / "b", source, drawn("b"), name="b", scale="cosine")
    with pytest.raises(ConfigurationError, match=r"raw cannot average.*a \(logit\), b \(cosine\)"):
        teach([one, two])
    done = teach([one, two], combination={"method": "rank_fusion"})
    assert canonical.read_description(done.folder)["combination"]["score_scale"].startswith("recip")
    table = pq.read_table(source)
    lists: dict[str, list[str]] = {}
    for query, doc in zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True):
        lists.setdefault(query, []).append(doc)
    for row in everything(done)[:5]:
        docs = lists[row["query_id"]]
        for item in row["positives"] + row["negatives"]:
            expected = 0.0
            for seed in "ab":
                given = {d: np.float32(drawn(seed)(row["query_id"], d)) for d in docs}
                better = sum(value > given[item["doc_id"]] for value in given.values())
                expected += 1 / (60 + 1 + better)
            assert item["score"] == pytest.approx(expected, rel=1e-6)


def test_scores_that_are_not_numbers_and_candidates_without_content(
    teach: Distill, tmp_path: Path
) -> None:
    rows = [
        {"query_id": q, "query": f"query {q}", "doc_id": d, "text": None if d == "empty" else d}
        for q in ("a", "b")
        for d in ("best", "empty", "nan", "inf", "good", "null", "good")
    ]
    source = write(tmp_path / "in.parquet", pa.Table.from_pylist(rows))
    values = {"best": 9.0, "nan": float("nan"), "inf": float("inf"), "good": 1.0, "null": None}
    run = write_run(tmp_path / "a", source, lambda q, d: values.get(d))
    done = teach(run, split={"dev_fraction": 0})
    reasons = {d: why for (q, d), why in rejects_of(done).items() if q == "a"}
    assert reasons == {
        "empty": "no_score", "nan": "not_finite", "inf": "not_finite", "null": "no_score",
        "good": "no_score",
    }  # fmt: skip
    (row, _) = everything(done)
    assert [item["doc_id"] for item in row["positives"] + row["negatives"]] == ["best", "good"]
    assert done.manifest["coverage"]["not_finite"] == 4


def test_judged_positives_in_and_outside_the_lists(
    teach: Distill, tmp_path: Path, source: Path
) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    table = pq.read_table(source)
    queries = sorted(set(table["query_id"].to_pylist()))
    lines = [f"{q} 0 d0 1" for q in queries] + ["q001 0 elsewhere 2", "q002 0 nowhere 1"]
    lines += ["unknown 0 d0 1", "q004 0 d1 0"]
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("\n".join(lines))
    rules = {"source": "qrels", "qrels": str(qrels)}
    reported = teach(run, positives=rules, output="reported")
    assert reported.manifest["positives_outside"] == {"judged": 2, "with_text": 0}
    corpus = pa.table(
        {"docid": ["x", "elsewhere"], "title": ["t", "Far"], "contents": ["x", "away"]}
    )
    path = write(tmp_path / "corpus" / "part.parquet", corpus)
    used = teach(run, positives=rules | {"corpus": str(path.parent)}, output="used")
    assert used.manifest["positives_outside"] == {"judged": 2, "with_text": 1}
    row = next(row for row in everything(used) if row["query_id"] == "q001")
    far = next(item for item in row["positives"] if item["doc_id"] == "elsewhere")
    assert (far["text"], far["score"], far["rank"], far["relevance"]) == ("Far away", None, None, 2)
    assert far == row["positives"][-1]
    for row in everything(used):
        assert "d0" in [item["doc_id"] for item in row["positives"]]
        assert all(item["source"] == "qrels" for item in row["positives"])
        low = min(i["score"] for i in row["positives"] if i["score"] is not None)
        assert all(item["score"] <= low for item in row["negatives"])


def test_calibrated_scores_are_log_odds(teach: Distill, tmp_path: Path, source: Path) -> None:
    table = pq.read_table(source)
    pairs = list(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    score = drawn("a")
    relevant = [p for p in pairs if score(*p) + 2 * drawn("noise")(*p) > 12]
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("\n".join(f"{q} 0 {d} 1" for q, d in relevant))
    run = write_run(tmp_path / "a", source, score)
    done = teach(run, combination={"scores": "calibrated"}, positives={"qrels": str(qrels)})
    (scale,) = done.manifest["scales"]
    assert scale["multiplier"] > 0
    chance = 1 / (
        1 + np.exp(-(scale["multiplier"] * np.array([score(*p) for p in pairs]) + scale["offset"]))
    )
    # A logistic fit with an intercept predicts as many as there are, here up to sampling.
    assert chance.sum() == pytest.approx(len(relevant), rel=0.2)


def near_duplicates(queries: list[str]) -> list[tuple[int, int]]:
    offsets, elements = character_shingles([normalised(query) for query in queries])
    sets = [frozenset(map(str, elements[a:b].tolist())) for a, b in pairwise(offsets.tolist())]
    return [(i, j) for i in range(len(sets)) for j in range(i) if jaccard(sets[i], sets[j]) >= 0.8]


def with_queries(texts: list[str]) -> pa.Table:
    rows = [
        {"query_id": f"q{i:03d}", "query": text, "doc_id": f"d{d}", "text": f"text {d} of {i}"}
        for i, text in enumerate(texts)
        for d in range(4)
    ]
    return pa.Table.from_pylist(rows)


def test_near_duplicates_stay_on_one_side(teach: Distill, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    words = [f"{a}{b}{c}" for a in "bdfg" for b in "aeiou" for c in "lmnr"]
    texts = [" ".join(chance.choice(words, 6)) for _ in range(60)]
    texts += [text + "s" for text in texts[:20]] + [f"{text.upper()} ?" for text in texts[10:30]]
    source = write(tmp_path / "in.parquet", with_queries(texts))
    run = write_run(tmp_path / "a", source, drawn("a"))
    done = teach(run, split={"dev_fraction": 0.3})
    dev = {row["query_id"] for row in rows_of(done, "dev")}
    side = [f"q{i:03d}" in dev for i in range(len(texts))]
    pairs = near_duplicates(texts)
    assert len(pairs) >= 40
    assert all(side[i] == side[j] for i, j in pairs)
    assert 0 < sum(side) <= 30
    assert done.manifest["split"]["clusters"] <= 60
    loose = teach(run, output="exact", split={"dev_fraction": 0.3, "near_duplicates": None})
    assert loose.manifest["split"]["clusters"] == 80


def test_queries_that_are_evaluated_on_are_left_out_and_listed(
    teach: Distill, tmp_path: Path
) -> None:
    texts = [
        "how do i open a zip file", "sort a list by two keys", "parse command line options",
        "read a json file", "walk over a folder", "how do i open a zip filer",
    ]  # fmt: skip
    run = write_run(tmp_path / "a", write(tmp_path / "in.parquet", with_queries(texts)), drawn("a"))
    (tmp_path / "eval.tsv").write_text(
        "e1\tHow do I open a ZIP file?\ne2\tparse command line option\n"
    )
    (tmp_path / "eval.qrels").write_text("q003 0 d1 1\nq003 0 d2 0\nother 0 d1 1\n")
    rules = {"queries": str(tmp_path / "eval.tsv"), "qrels": str(tmp_path / "eval.qrels")}
    done = teach(run, decontaminate=rules, split={"dev_fraction": 0})
    assert {row["query_id"] for row in everything(done)} == {"q001", "q004"}
    listed = pq.read_table(f"{done.folder}/decontamination.parquet").to_pylist()
    found = {row["query_id"]: (row["reason"], row["evaluation_query_id"]) for row in listed}
    assert found == {
        "q000": ("evaluation_query", "e1"),
        "q002": ("near_evaluation_query", "e2"),
        "q003": ("evaluation_query_id", "q003"),
        "q005": ("near_evaluation_query", "e1"),
    }
    assert {row["similarity"] for row in listed if row["query_id"] == "q000"} == {1.0}
    assert set(rejects_of(done)[q, "d0"] for q in found) == {reason for reason, _ in found.values()}
    strict = teach(
        run,
        output="documents",
        split={"dev_fraction": 0},
        decontaminate=rules | {"documents": True},
    )
    reasons = rejects_of(strict)
    dropped = {pair for pair, reason in reasons.items() if reason == "evaluation_document"}
    assert dropped == {(f"q{i:03d}", "d1") for i in range(len(texts))}
    assert all(
        item["doc_id"] != "d1"
        for row in everything(strict)
        for item in row["positives"] + row["negatives"]
    )


def test_images_keep_their_bytes_or_place(teach: Distill, tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": ["a"] * 3 + ["b"] * 3,
            "query": ["chart"] * 3 + [None] * 3,
            "query_image": [None] * 3 + ["s3://b/query.png"] * 3,
            "doc_id": ["x", "y", "z"] * 2,
            "text": [None, "caption", None] * 2,
            "image": ["s3://b/x.png", None, "s3://b/z.png"] * 2,
        }
    )
    run = write_run(tmp_path / "a", write(tmp_path / "in.parquet", table), drawn("a"))
    done = teach(run, split={"dev_fraction": 0})
    first, second = everything(done)
    assert (first["query_image"], second["query"]) == (None, None)
    assert second["query_image"] == {"bytes": None, "path": "s3://b/query.png"}
    uris = {i["doc_id"]: i["image_uri"] for i in first["positives"] + first["negatives"]}
    assert uris == {"x": "s3://b/x.png", "y": None, "z": "s3://b/z.png"}
    table = table.set_column(5, "image", pa.array([b"1", None, b"3"] * 2, pa.binary()))
    run = write_run(tmp_path / "b", write(tmp_path / "b.parquet", table), drawn("a"))
    done = teach(run, output="bytes", split={"dev_fraction": 0})
    data = {
        i["doc_id"]: i["image"]
        for r in everything(done)[:1]
        for i in r["positives"] + r["negatives"]
    }
    assert data == {"x": b"1", "y": None, "z": b"3"}


def test_a_run_of_the_product_teaches(
    teach: Distill, rerank_in_process: Any, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.parquet", long_table(queries=20, documents=12))
    outcome = rerank_in_process(source, units={"documents": 40})
    done = teach(outcome.folder, negatives={"relative_margin": 0.05})
    ranked = pq.ParquetDataset(f"{outcome.folder}/ranked").read().to_pylist()
    scores = {(row["query_id"], row["doc_id"]): row["score"] for row in ranked}
    for row in everything(done):
        (positive,) = row["positives"]
        assert positive["score"] == scores[row["query_id"], positive["doc_id"]]
        for item in row["negatives"]:
            assert item["score"] == scores[row["query_id"], item["doc_id"]]
            assert item["score"] <= positive["score"] * 0.95 + 1e-6
    assert canonical.read_description(done.folder)["combination"]["score_scale"] == "overlap"


def test_a_finished_set_is_left_alone_and_an_interrupted_one_completed(
    teach: Distill, tmp_path: Path, source: Path
) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    rules = {"negatives": {"max_per_document": 6}, "split": {"dev_fraction": 0.2}}
    first = teach(run, **rules)
    before = digests(first.folder)
    again = teach(run, **rules)
    assert (again.already_finished, again.units_run) == (True, 0)
    folder = Path(first.folder)
    units = len(list((folder / "rejects").iterdir()))
    # What a kill leaves: parts without their record, surveys or decisions that are not complete.
    losses = {
        0: ["_SUCCESS", "manifest.json", "rejected.parquet"],
        2: ["_SUCCESS", "work/records/part-00000.json", "work/records/part-00003.json"],
        1: ["_SUCCESS", "work/records/part-00001.json", "canonical/train/part-00001.parquet"],
        units: [
            "_SUCCESS", "work/decided.json", "work/survey/part-00002.parquet",
            "work/decisions/part-00001.parquet", "work/granted/part-00001.parquet",
            *(f"work/records/part-{i:05d}.json" for i in range(units)),
        ],
    }  # fmt: skip
    for expected, names in losses.items():
        for name in names:
            (folder / name).unlink()
        resumed = teach(run, **rules)
        assert resumed.units_run == expected
        assert digests(folder) == before
        assert resumed.manifest == first.manifest


def test_files_of_others_are_not_mixed_in(teach: Distill, tmp_path: Path, source: Path) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    first = teach(run)
    folder = Path(first.folder)
    (folder / "_SUCCESS").unlink()
    (folder / "work/records/part-00000.json").unlink()
    part = folder / "canonical/train/part-00000.parquet"
    data = part.read_bytes()
    part.write_bytes(b"something else")
    with pytest.raises(RunFailedError, match=r"part-00000.parquet: was written before with other"):
        teach(run)
    part.write_bytes(data)
    (folder / "canonical/dev").mkdir(exist_ok=True)
    (folder / "canonical/dev/part-99999.parquet").write_bytes(data)
    with pytest.raises(RunFailedError, match=r"part-99999.parquet: not of this set"):
        teach(run)


def test_the_set_id_is_of_content(tmp_path: Path, source: Path) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    qrels = tmp_path / "qrels.txt"
    qrels.write_text("q001 0 d0 1\n")

    def set_id(**sections: Any) -> str:
        return prepare_distillation(config_of(run, tmp_path / "sets", sections)).set_id

    judged = {"positives": {"source": "both", "qrels": str(qrels)}}
    plain, with_qrels = set_id(), set_id(**judged)
    copied = tmp_path / "copy.txt"
    copied.write_bytes(qrels.read_bytes())
    assert set_id(positives={"source": "both", "qrels": str(copied)}) == with_qrels
    qrels.write_text("q001 0 d0 2\n")
    assert len({plain, with_qrels, set_id(**judged), set_id(seed=1)}) == 4
    assert set_id(ray={"read_cpus": 2}, progress={"interval_s": 9}) == plain


def test_teachers_that_cannot_teach_are_refused(
    teach: Distill, tmp_path: Path, source: Path
) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    success = run / "_SUCCESS"
    content = success.read_bytes()
    success.unlink()
    with pytest.raises(NotFoundError, match="not finished, so it cannot teach"):
        teach(run)
    success.write_bytes(content)
    with pytest.raises(InputContractError, match=r"no query is left for training.*no_positive"):
        teach(run, positives={"teacher_min_score": 1e9})
    flat = write_run(tmp_path / "flat", source, lambda q, d: 2.0, name="flat")
    with pytest.raises(InputContractError, match=r"teacher flat: its \d+ scores have no spread"):
        teach(flat, combination={"scores": "standardised"})
    write(source, long_table(queries=25, documents=12))
    with pytest.raises(InputContractError, match=r"in.parquet: changed since .* scored it"):
        teach(run)


def test_a_damaged_teacher_is_named(tmp_path: Path, source: Path) -> None:
    """A footer is noticed when the teacher is opened, a row when it is read."""

    def teach(output: str) -> Outcome:
        config = config_of(run, tmp_path / output, {"ray": {"mode": "in_process"}})
        return distill(prepare_distillation(config))

    run = write_run(tmp_path / "a", source, drawn("a"))
    other, path, *_ = sorted((run / "ranked").iterdir())
    whole = path.read_bytes()
    shutil.copy(other, run / "ranked" / "stray.parquet")
    before = digests(teach("whole").folder)
    for name, damaged in {
        "rows": whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
        "cut": whole[:-9],
        "other": other.read_bytes(),
    }.items():
        path.write_bytes(damaged)
        with pytest.raises(DamagedRunError, match=path.name):
            teach(name)
        assert not list((tmp_path / name).glob("*/_SUCCESS"))
    path.write_bytes(whole)
    assert digests(teach("rows").folder) == before


def test_a_killed_driver_is_resumed_to_the_same_bytes(
    teach: Distill, teach_on_ray: Distill, tmp_path: Path
) -> None:
    table = long_table(queries=200, documents=12)
    source = write(tmp_path / "in.parquet", table, row_group_size=10)
    run = write_run(tmp_path / "a", source, drawn("a"), documents=30)
    rules = {"split": {"dev_fraction": 0.2}, "negatives": {"sampling_strategy": "random"}}
    whole = teach(run, output="whole", **rules)
    killed = tmp_path / "killed" / Path(whole.folder).name
    settings = [
        f"teachers={run}", f"output.path={killed.parent}", "split.dev_fraction=0.2",
        "negatives.sampling_strategy=random", "ray.read_cpus=1",
    ]  # fmt: skip
    command = [sys.executable, "-m", "jobs.distill"]
    for setting in settings:
        command += ["--set", setting]
    log = tmp_path / "log"
    with log.open("wb") as file:
        driver = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
            env={**os.environ, "RAY_ADDRESS": "local"},
        )  # fmt: skip
    records = killed / "work" / "records"
    deadline = time.monotonic() + 300
    while len(list(records.glob("part-*.json"))) < 3:
        assert driver.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.002)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    done = len(list(records.glob("part-*.json")))
    assert 0 < done < whole.units_run
    assert not (killed / "_SUCCESS").exists()
    time.sleep(1)  # workers of the dead driver may still write; they write the same
    resumed = teach_on_ray(run, output="killed", **rules)
    assert 0 < resumed.units_run <= whole.units_run - done
    assert digests(killed) == digests(whole.folder)


def test_the_command_says_what_it_does(tmp_path: Path, source: Path) -> None:
    run = write_run(tmp_path / "a", source, drawn("a"))
    settings = [f"teachers={run}", f"output.path={tmp_path / 'sets'}", "ray.mode=in_process"]
    options = [word for one in settings for word in ("--set", one)]

    def rerank(*words: str) -> str:
        result = CliRunner().invoke(app, ["distill", *options, *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "num_negatives: 3" in rerank("--print-config")
    plan = rerank("--dry-run")
    assert "teacher (logit, licence apache-2.0)" in plan
    assert "nothing was written" in plan
    assert not (tmp_path / "sets").exists()
    done = rerank()
    assert re.search(r"train +\d+ queries, \d+ positives, \d+ negatives", done)
    assert "candidates: not_sampled" in done
    assert "suggested  temperature" in done
    assert "nothing to do" in rerank()
    missing = CliRunner().invoke(app, ["distill", "--set", "teachers=nowhere", *options[2:]])
    assert missing.exit_code == 4
