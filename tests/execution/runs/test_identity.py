"""What belongs to a run's fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import JobConfig
from pipeline.engine.build import build_reranker
from pipeline.execution.runs.identity import fingerprint, model_identity

GOLDENS = Path(__file__).parents[2] / "goldens"
M0 = {"family": "jina_m0", "weights": str(GOLDENS / "jina-reranker-m0")}


def of(model: dict[str, Any], **images: Any) -> str:
    job = JobConfig.model_validate(
        {"model": model, "input": {"path": "in", "images": images}, "output": {"path": "out"}}
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
