"""Checkpoints with random weights: published sizes, and the loaders of real ones take them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.bench.engines import BenchEngine
from pipeline.bench.inputs.workloads import WORKLOADS, make
from pipeline.bench.models.checkpoints import checkpoint_folder
from pipeline.bench.models.shapes import SHAPES, shape_named
from pipeline.bench.subject import Subject
from pipeline.config import EngineConfig
from pipeline.errors import ConfigurationError


@pytest.mark.parametrize("name", SHAPES)
def test_real_shapes_have_the_published_number_of_parameters(name: str) -> None:
    shape = SHAPES[name]
    counted = sum(math.prod(sizes) for _, sizes in shape.tensors(shape.config))
    assert counted == shape.parameters


@pytest.mark.parametrize("name", SHAPES)
def test_every_tiny_shape_loads_and_spreads_its_scores(
    subject: Callable[[str], Subject], name: str
) -> None:
    """Loading is strict: a missing or an unexpected tensor is an error."""
    engine = BenchEngine(subject(name), "auto", EngineConfig())
    tokenizer = engine.reranker.tokenizer  # type: ignore[attr-defined]
    workload = next(each for each in WORKLOADS.values() if name in each.models)
    work = make(
        workload, "s", tokens=lambda texts: tokenizer.encode(texts).lengths,
        page_tokens=(4, 3), scan=1,
    )  # fmt: skip
    scores = engine.score([work.lists]).scores
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 0.9 * len(scores)
    assert scores.std() > 1e-3  # far above float noise, so that agreement means something


def test_both_layouts_of_a_network_hold_the_same_weights(
    subject: Callable[[str], Subject],
) -> None:
    """Upstream's fused and renamed layout against transformers' own, through their two families."""
    scores = []
    for name in ("jina-v2", "xlmr-base"):
        engine = BenchEngine(subject(name), "padded", EngineConfig())
        work = make(
            WORKLOADS["msmarco"], "s",
            tokens=lambda texts, own=engine: own.reranker.tokenizer.encode(texts).lengths,
        )  # fmt: skip
        scores.append(engine.score([work.lists]).scores)
    np.testing.assert_allclose(scores[0], torch.sigmoid(torch.from_numpy(scores[1])), atol=1e-6)


def test_a_checkpoint_is_written_once_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    first = checkpoint_folder(SHAPES["jina-tiny"], "tiny", tmp_path)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert checkpoint_folder(SHAPES["jina-tiny"], "tiny", tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    assert list(tmp_path.iterdir()) == [first]


def test_a_write_that_fails_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        checkpoint_folder(SHAPES["jina-tiny"], "tiny", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_shape_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="no shape 'minilm'; there are minilm-l6"):
        shape_named("minilm")
