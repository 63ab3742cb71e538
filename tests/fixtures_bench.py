"""Tiny models of a bench, for the tests of the bench itself and of comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.bench.models.shapes import SHAPES
from pipeline.bench.subject import Subject


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny checkpoints, written once for all tests of a session, in whichever folder they are."""
    folder = tmp_path_factory.getbasetemp() / "bench-checkpoints"
    folder.mkdir(exist_ok=True)
    return folder


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
