"""What belongs to a run's fingerprint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import JobConfig
from pipeline.engine.build import build_reranker
from pipeline.execution.runs.identity import fingerprint, model_identity, score_fingerprint

GOLDENS = Path(__file__).parents[2] / "goldens"
M0 = {"family": "jina_m0", "weights": str(GOLDENS / "jina-reranker-m0")}


def of(model: dict[str, Any], **images: Any) -> str:
    job = JobConfig.model_validate(
        {
            "model": model,
            "input": {"path": "in", "images": images},
            "output": {"path": "out"},
            "replicas": {"num_gpus": 0},
        }
    )
    return fingerprint(job, model_identity(job, build_reranker(job.model)))


@pytest.mark.parametrize(
    "images",
    [
        {"base": "/data"},
        {"roots": ["/data"]},
        {"https_hosts": ["images.example"]},
        {"max_bytes": 1},
        {"max_pixels": 1},
    ],
)
def test_which_images_are_read_belongs_to_it_where_a_family_reads_any(
    images: dict[str, Any],
) -> None:
    assert of(M0, **images) != of(M0)
    assert of({"family": "lexical"}, **images) == of({"family": "lexical"})


def test_how_long_they_may_take_does_not() -> None:
    assert of(M0, stall_s=1, fetch_s=1, decode_s=1) == of(M0)


def test_runs_without_a_reuse_table_are_named_as_before_there_were_any() -> None:
    """So that a run that an earlier version began is gone on with."""
    assert of({"family": "lexical"}) == "2e8a0f4c5320dfca03efe5f2defcabfe"
    job = JobConfig.model_validate(
        {
            "model": {"family": "lexical"},
            "input": {"path": "in"},
            "output": {"path": "out"},
            "replicas": {"num_gpus": 0},
        }
    )
    model = model_identity(job, build_reranker(job.model))
    named = [fingerprint(job, model, reuse=table) for table in (None, "0" * 16, "1" * 16)]
    assert named[0] == of({"family": "lexical"})
    assert len(set(named)) == 3


def scores(model: dict[str, Any], **sections: Any) -> str:
    job = JobConfig.model_validate(
        {
            "model": model,
            "input": {"path": "in"},
            "output": {"path": "out"},
            "replicas": {"num_gpus": 0},
        }
        | sections
    )
    return score_fingerprint(model_identity(job, build_reranker(job.model)))


MINILM = {"family": "cross_encoder", "weights": str(GOLDENS / "ms-marco-minilm-tiny")}


@pytest.mark.parametrize(
    "sections",
    [
        {"output": {"path": "elsewhere", "columns": ["url"], "formats": ["trec"]}},
        {"input": {"path": "other", "text_columns": ["text"], "text_separator": "\n"}},
        {"units": {"documents": 7}},
        {"engine": {"token_budget": 77}},
    ],
)
def test_scores_are_known_whatever_is_read_and_written(sections: dict[str, Any]) -> None:
    assert scores(MINILM, **sections) == scores(MINILM)


def test_scores_of_other_weights_settings_precisions_or_images_are_others(tmp_path: Path) -> None:
    copied = shutil.copytree(MINILM["weights"], tmp_path / "copied")
    assert scores(MINILM | {"weights": str(copied)}) == scores(MINILM)
    other = {"family": "cross_encoder", "weights": str(GOLDENS / "bge-reranker-tiny")}
    found = [
        scores(MINILM),
        scores(other),
        scores(MINILM | {"settings": {"max_length": 64}}),
        scores(MINILM, engine={"dtype": "bfloat16"}),
        scores(M0),
        scores(M0, input={"path": "in", "images": {"max_pixels": 1}}),
        scores({"family": "lexical"}),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "sections",
    [
        {"metrics": {"file": "/x/rerank.prom"}},
        {"ray": {"metrics_port": 8090}},
    ],
    ids=str,
)
def test_what_watches_a_run_does_not_belong_to_it(sections: dict[str, Any]) -> None:
    given = {"model": {"family": "lexical"}, "input": {"path": "in"}, "output": {"path": "out"},
             "replicas": {"num_gpus": 0}}  # fmt: skip
    job = JobConfig.model_validate(given | sections)
    watched = fingerprint(job, model_identity(job, build_reranker(job.model)))
    assert watched == of({"family": "lexical"})
