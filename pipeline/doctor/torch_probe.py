"""Asks torch about itself in a process of its own, for a broken build may end its process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pipeline.doctor.cuda_builds import Capability
from pipeline.machine.torch_build import cuda_in

#: Loading torch takes seconds, and a first use of a GPU as well.
_LIMIT_S: Final = 180.0

_END: Final = "end of torch's answer"

#: ``__version__ = '2.13.0+cu130'`` in torch/version.py.
_VERSION: Final = re.compile(r"^__version__\s*=\s*['\"]([^'\"]+)['\"]", re.M)


@dataclass(frozen=True, kw_only=True)
class TorchBuild:
    """What is installed as torch.

    Attributes:
        version: as it says itself, e.g. ``2.13.0+cu130``; None: it is not installed.
        cuda: the CUDA release that it was built with; None: none.
        kernels: those that it holds.
        capabilities: of the GPUs that it sees, in their order.
        failed: why it cannot be loaded, or cannot compute on a GPU that it sees; empty where it
            can.
    """

    version: str | None
    cuda: str | None = None
    kernels: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = field(default=())
    failed: str = ""


def installed_torch() -> TorchBuild:
    """What there is, without loading it into this process."""
    stated = _stated()
    if stated is None:
        return TorchBuild(version=None)
    command = [sys.executable, "-P", "-m", "rerank_pipeline.module", __name__]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return TorchBuild(**stated, failed=f"it did not answer within {_LIMIT_S:.0f} s")
    except OSError as error:
        return TorchBuild(**stated, failed=f"no process can be started ({error.strerror})")
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) < 2 or lines[-1] != _END:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        return TorchBuild(**stated, failed=last.strip() or f"it ended with {done.returncode}")
    told: dict[str, Any] = json.loads(lines[-2])
    return TorchBuild(
        version=told["version"],
        cuda=told["cuda"],
        kernels=tuple(told["kernels"]),
        capabilities=tuple((major, minor) for major, minor in told["capabilities"]),
        failed=told["failed"],
    )


def _stated() -> dict[str, Any] | None:
    """Version and CUDA release by the file that states both, without importing; None: no torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    try:
        version = _VERSION.search(file.read_text(encoding="utf-8"))
    except OSError:
        version = None
    return {"version": version[1] if version else "unknown", "cuda": cuda_in(file)}


def main() -> None:
    """Print the answer as JSON in the line before the last."""
    import torch

    kernels: list[str] = []
    if torch.version.cuda is not None:
        # As torch.cuda.get_arch_list(), which says nothing on a machine without a GPU.
        kernels = (torch._C._cuda_getArchFlags() or "").split()
    capabilities, failed = [], ""
    try:
        if torch.cuda.is_available():
            for number in range(torch.cuda.device_count()):
                capabilities.append(torch.cuda.get_device_capability(number))
                ones = torch.ones(64, 64, device=f"cuda:{number}")
                if float((ones @ ones).sum()) != 64**3:
                    failed = f"cuda:{number}: a product of two matrices came out wrong"
    except RuntimeError as error:  # CUDA's errors are such
        failed = next(iter(str(error).splitlines()), type(error).__name__)
    told = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "kernels": kernels,
        "capabilities": capabilities,
        "failed": failed,
    }
    sys.stdout.write(f"{json.dumps(told)}\n{_END}\n")


if __name__ == "__main__":
    main()
