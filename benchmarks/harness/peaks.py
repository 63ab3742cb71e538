"""What this machine does at best, measured in the same run: a large matrix product.

On CPU 2048 x 2048 in float32 with the threads that torch has; on GPU 8192 x 8192 in bfloat16,
random numbers, since a GPU is faster on zeros.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

_SIDE: Final = {"cpu": 2_048, "cuda": 8_192}
_REPEATS: Final = {"cpu": 3, "cuda": 20}

#: What was multiplied, in words.
PRODUCTS: Final = {"cpu": "2048^3 float32", "cuda": "8192^3 bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Operations per second of the matrix product.

    Attributes:
        per_second: by the clock.
        per_cpu_second: by the process's CPU time, which others on the machine do not slow down;
            0 on a GPU.
    """

    per_second: float
    per_cpu_second: float

    @classmethod
    def median(cls, peaks: Sequence[Peak]) -> Peak:
        """Of several, each number for itself."""
        return cls(
            per_second=statistics.median(each.per_second for each in peaks),
            per_cpu_second=statistics.median(each.per_cpu_second for each in peaks),
        )


def matmul_peak(device: torch.device) -> Peak:
    """The best of a few products after one that does not count."""
    import torch

    side, repeats = _SIDE[device.type], _REPEATS[device.type]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    operations = 2.0 * side**3
    torch.mm(a, b)
    if device.type == "cuda":
        return Peak(per_second=repeats * operations / _cuda_seconds(a, b, repeats),
                    per_cpu_second=0.0)  # fmt: skip
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        torch.mm(a, b)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Peak(per_second=operations / min(walls), per_cpu_second=operations / min(cpus))


def _cuda_seconds(a: torch.Tensor, b: torch.Tensor, repeats: int) -> float:
    import torch

    first: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    last: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    first.record()
    for _ in range(repeats):
        torch.mm(a, b)
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1000
