"""What several test folders need: the goldens, and candidate lists out of pairs of texts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import settings

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.machine.nvidia import gpus

pytest_plugins = [
    "pytester",
    "tests.fixtures_feeds",
    "tests.fixtures_runs",
    "tests.fixtures_s3",
    "tests.quick",
]

# A shared machine may be slow at any moment; that is no property of the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


#: Files that take a minute or more. Processes that share the tests take files whole, in this order:
#: none is left with minutes of work when the others have done theirs. Those that mostly wait, for
#: nodes of Ray, for servers, for a query that hangs, alternate with those that compute, so that two
#: processes seldom wait at once.
_LONG = (
    "execution/cluster/test_faults.py",
    "benchmarks/test_collections.py",
    "execution/test_bad_queries.py",
    "execution/test_crashes.py",
    "test_cli.py",
    "jobs/test_submit.py",
    "distillation/test_distill.py",
    "execution/test_run.py",
    "execution/cluster/test_autoscaling.py",
    "staging/test_crashes.py",
    "benchmarks/test_gpu.py",
    "rerankers/test_conformance.py",
    "rerankers/test_jina_v3_5.py",
    "cluster/test_ray_session.py",
    "benchmarks/harness/test_side_by_side.py",
    "execution/test_termination.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests have a GPU only where it is asked for, by ``-m gpu``, and no public hub.

    The others are about a machine without one, whatever machine they run on: what ``load()`` and
    replicas take by themselves, and tolerances of float32. Read by the driver when it is first
    asked, and by whatever process a test starts.
    """
    # No test asks a public hub: its answers, or twenty seconds without one, are no property of the
    # code. Those of hubs start one. Read when huggingface_hub is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    asked = re.search(r"(?<!not )\bgpu\b", config.getoption("markexpr"))
    if not asked and gpus({}):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # Without a GPU, kernels of our own run in Triton's interpreter; read when triton is imported.
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, in their order."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Tiny checkpoints in the layouts of published ones, with the scores of upstream's own code."""
    return Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def cases(goldens: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The cases of a golden by its folder's name."""

    def read(name: str) -> list[dict[str, Any]]:
        lines = (goldens / name / "cases.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture(scope="session")
def pair_lists() -> Callable[[Sequence[tuple[str, str | None]]], CandidateLists]:
    """Every (query, document) pair as a candidate list of its own."""

    def build(pairs: Sequence[tuple[str, str | None]]) -> CandidateLists:
        count = len(pairs)
        one = CandidateLists.from_texts("", [document for _, document in pairs])
        queries = {
            schema.QUERY_ID: pa.array([str(i) for i in range(count)], pa.string()),
            schema.QUERY: pa.array([query for query, _ in pairs], pa.string()),
        }
        return CandidateLists(
            queries=pa.table(queries),
            offsets=np.arange(count + 1, dtype=np.int64),
            documents=one.documents,
        )

    return build
