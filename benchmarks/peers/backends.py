"""sentence-transformers with its backends ``onnx`` and ``openvino``, in an environment of its own.

What they are made of asks for other versions of transformers than this package (``environment.sh``
beside this file says which), so they run in a process of the environment that it builds, which
``RERANK_PEERS_PYTHON`` names. Texts go there and scores come back; the process itself says what
its pass took, so that neither the pipe nor the wait for it counts.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness.contender import Contender, pairs_of
from pipeline.bench.engines import Scored
from pipeline.bench.inputs.workloads import WORKLOADS, make, part
from pipeline.bench.measuring import Cost, Memory
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists
from pipeline.engine.processor import low_precision
from pipeline.errors import ConfigurationError

#: Names the interpreter of that environment.
VARIABLE: Final = "RERANK_PEERS_PYTHON"

_WORKER: Final = Path(__file__).with_name("library_backends.py")
_CALIBRATION_PAIRS: Final = 64


def interpreter() -> str | None:
    """The interpreter of the environment; None where nobody named one."""
    return os.environ.get(VARIABLE) or None


class Backend(Contender):
    """``predict`` over all pairs in one call, batches of 32, by a backend of the library."""

    def __init__(self, subject: Subject, *, backend: str, precision: str, python: str) -> None:
        """Start the process, which converts and loads the network.

        Args:
            subject: the model.
            backend: torch, onnx or openvino.
            precision: float32, int8 or, of OpenVINO, bfloat16: what it takes by itself.
            python: interpreter of the environment.

        Raises:
            ConfigurationError: there is no such interpreter, or its process ended.
        """
        import torch

        self.precision = precision
        self.name = f"st-{backend}" + ("" if precision == "float32" else f"-{precision}")
        self.python = python
        try:
            self._process = subprocess.Popen(
                [python, str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )  # fmt: skip
        except OSError as error:
            raise ConfigurationError(f"{VARIABLE}: {python}: {error.strerror}") from None
        versions = self._ask(
            {
                "folder": str(subject.twin),
                "backend": backend,
                "precision": precision,
                "threads": torch.get_num_threads(),
                "max_length": subject.shape.settings.get("max_length"),
                "vnni": "avx512_vnni" in low_precision(),
                "calibration": _calibration(subject) if precision == "int8" else [],
            }
        )
        about = ", ".join(f"{name} {version}" for name, version in versions.items())
        self.about = f"predict() in one call, batches of 32, {precision}: {about}"

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """All units in one call; its cost is what the process counted."""
        found = self._ask([pair for lists in units for pair in pairs_of(lists)])
        return Scored(
            scores=np.array(found["scores"], dtype=np.float32),
            computed=found["computed"],
            elsewhere=(
                Cost(wall_s=found["wall_s"], cpu_s=found["cpu_s"]),
                Memory(rss=found["rss_bytes"]),
            ),
        )

    def close(self) -> None:
        """End the process."""
        with self._process:
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _ask(self, question: Any) -> Any:
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None and answered is not None
        try:
            print(json.dumps(question), file=asked, flush=True)
            line = answered.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ConfigurationError(
                f"{self.name}: its process ended with {self._process.wait()}, what it wrote is "
                f"above; {VARIABLE}={self.python} must be of an environment that "
                "benchmarks/peers/environment.sh has built"
            )
        return json.loads(line)


def _calibration(subject: Subject) -> list[tuple[str, str]]:
    """Pairs of the workload's kind, of another seed."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(subject.twin, local_files_only=True)

    def tokens(texts: list[str]) -> Any:
        return np.array([len(ids) for ids in tokenizer(texts, add_special_tokens=False).input_ids])

    work = make(WORKLOADS["msmarco"], "s", seed=1, tokens=tokens)
    return pairs_of(part(work.lists, 0, len(work.lists)))[:_CALIBRATION_PAIRS]
