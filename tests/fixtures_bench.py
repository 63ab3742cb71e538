from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.benchmarking.contender import Subject
from pipeline.benchmarking.shapes import SHAPES


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny checkpoints, written once for all tests of this room."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def subject(cache: Path) -> Callable[[str], Subject]:
    """A tiny model by the name of its shape, on CPU in float32."""

    def make(name: str) -> Subject:
        return Subject(
            shape=SHAPES[name],
            scale="tiny",
            cache=cache,
            device=torch.device("cpu"),
            dtype="float32",
        )

    return make
