"""What a figure was taken on and with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import pipeline
from pipeline.engine import processor

_PACKAGES: Final = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "pyarrow",
    "ray",
    "triton",
)
_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")


def machine(kind: str) -> dict[str, Any]:
    """Processor and its low-precision instructions, memory, threads and, for ``cuda``, the GPU."""
    import torch

    found: dict[str, Any] = {
        "cpu": processor.name(),
        "cpu_model": processor.model(),
        "low_precision": processor.low_precision(),
        "logical_cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    if kind == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        found["gpu"] = gpu.name
        found["gpu_memory_gib"] = round(gpu.total_memory / 2**30, 1)
        found["cuda"] = torch.version.cuda
    return found


def versions(*others: str) -> dict[str, str]:
    """Of this package, of Python and of what decides speed, and of ``others`` by their names.

    What is not installed is left out.
    """
    found = {"rerank-pipeline": pipeline.__version__, "python": platform.python_version()}
    for name in (*_PACKAGES, *others):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load_average() -> list[float]:
    """Processes that wanted to run in the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
