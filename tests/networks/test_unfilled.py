"""Networks that are made without initial weights, and without what is slow to import."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ModelError
from pipeline.networks.loading import build, build_own
from pipeline.networks.unfilled import unfilled

ROOT = Path(__file__).resolve().parents[2]

#: Scores a document by each checkpoint, and prints what that brought along of what is slow.
LOAD = """
import json, sys
from pipeline import load
slow = ("transformers.modeling_utils", "torch._dynamo", "torch.distributed.tensor")
for folder in sys.argv[1:]:
    load(folder, device="cpu").score("a query", ["a document"])
    print(json.dumps([folder, [name for name in slow if name in sys.modules]]))
"""


def test_parameters_are_left_as_they_come_and_only_inside() -> None:
    def fails(self: nn.Module) -> None:
        raise AssertionError("initial weights")

    with pytest.MonkeyPatch.context() as patch:
        for kind in (nn.Linear, nn.Embedding, nn.LayerNorm):
            patch.setattr(kind, "reset_parameters", fails)
        with unfilled():
            nn.Linear(2, 3), nn.Embedding(2, 3), nn.LayerNorm(3)
        for make in (lambda: nn.Linear(2, 3), lambda: nn.Embedding(2, 3), lambda: nn.LayerNorm(3)):
            with pytest.raises(AssertionError, match="initial"):
                make()


def test_the_precision_is_that_asked_for_and_goes_back(goldens: Path) -> None:
    checkpoint = Checkpoint(goldens / "ms-marco-minilm-tiny")
    made = build_own(lambda: nn.Linear(2, 2), dtype=torch.bfloat16, checkpoint=checkpoint)
    assert made.weight.dtype == torch.bfloat16
    with pytest.raises(ModelError, match=r"config\.json.*'bert'.*ZeroDivisionError"):
        build_own(lambda: 1 // 0, dtype=torch.bfloat16, checkpoint=checkpoint)  # type: ignore[type-var]
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("make", [build, build_own])
def test_threads_make_their_networks_one_after_the_other(
    make: Callable[..., Any], goldens: Path
) -> None:
    """Else one of them would leave the process without initial weights, or in its precision."""
    checkpoint = Checkpoint(goldens / "ms-marco-minilm-tiny")
    fills, begun, made = nn.Linear.reset_parameters, threading.Event(), []

    def inside() -> nn.Module:
        begun.set()
        return nn.Linear(2, 2)

    def second() -> None:
        made.append(build_own(inside, dtype=torch.float32, checkpoint=checkpoint))

    other = threading.Thread(target=second)

    def first() -> nn.Module:
        other.start()
        assert not begun.wait(0.1)
        return nn.Linear(2, 2)

    made.append(make(first, dtype=torch.bfloat16, checkpoint=checkpoint))
    other.join()
    assert {network.weight.dtype for network in made} == {torch.bfloat16, torch.float32}
    assert nn.Linear.reset_parameters is fills


def test_a_replica_of_a_packed_network_imports_no_network_of_transformers(goldens: Path) -> None:
    """Each process that holds a replica pays for what it imports: four seconds of a CPU."""
    names = (
        "ms-marco-minilm-tiny",
        "bge-reranker-tiny",
        "jina-reranker-v1-turbo-tiny",
        "jina-reranker-v2-tiny",
        "jina-reranker-v3",
        "ettin-reranker-tiny",
        "electra-reranker-tiny",
    )
    folders = [str(goldens / name) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *folders], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said == [[folder, []] for folder in folders]
