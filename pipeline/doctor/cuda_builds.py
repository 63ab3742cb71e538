"""Which of torch's builds goes with which NVIDIA driver and GPU.

Sources: the driver of a CUDA release by NVIDIA's table of minor version compatibility
(https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html); what runs on a
GPU by its guide to binary and PTX compatibility
(https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities); builds and kernels by
the wheels' own metadata, and for the wheel that PyPI does not have by PyTorch's table
(https://github.com/pytorch/pytorch/blob/main/RELEASE.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

Capability = tuple[int, int]

#: Least driver of each CUDA release, by its first number. Newer drivers run older releases, too.
LEAST_DRIVER: Final = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}

#: PyTorch's own index, one for each build (https://pytorch.org/get-started/previous-versions/).
PYTORCH_INDEX: Final = "https://download.pytorch.org/whl"

_KERNEL: Final = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


@dataclass(frozen=True, kw_only=True)
class Build:
    """A build of torch that a set of constraints pins.

    Attributes:
        name: the file in ``constraints/``, and ``BUILD`` of ``make install``.
        torch: its version, as pip writes it.
        shown: its version, as ``torch.__version__`` says it.
        cuda: the CUDA release that it was built with; None: none.
        kernels: of x86_64 Linux, as ``torch.cuda.get_arch_list()`` says them.
        on_pypi: whether it is there; the others are on an index of PyTorch's own.
    """

    name: str
    torch: str
    shown: str
    cuda: str | None
    kernels: tuple[str, ...] = ()
    on_pypi: bool = False

    @property
    def command(self) -> str:
        """What installs it, with a constraints file at hand or without."""
        if self.on_pypi:
            return f"pip install torch==={self.torch}"  # no other build of this version will do
        _, _, build = self.torch.partition("+")
        return f"pip install torch=={self.torch} --index-url {PYTORCH_INDEX}/{build}"


BUILDS: Final = (
    Build(
        name="cpu",
        torch="2.13.0+cpu",
        shown="2.13.0+cpu",
        cuda=None,
    ),
    Build(
        name="cuda12",
        torch="2.13.0+cu126",
        shown="2.13.0+cu126",
        cuda="12.6",
        kernels=("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"),
    ),
    Build(
        name="cuda13",
        torch="2.13.0",
        shown="2.13.0+cu130",
        cuda="13.0",
        kernels=("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"),
        on_pypi=True,
    ),
)


def least_driver(cuda: str) -> str | None:
    """The least driver for a CUDA release such as ``13.0``; None: not known here."""
    return LEAST_DRIVER.get(int(cuda.partition(".")[0]))


def driver_fits(driver: str, cuda: str) -> bool:
    """Whether a driver runs a CUDA release; one that is not known here is taken to."""
    least = least_driver(cuda)
    return least is None or _numbers(driver) >= _numbers(least)


def has_kernels(kernels: Iterable[str], capability: Capability) -> bool:
    """Whether a build's kernels run on GPUs of a compute capability.

    Machine code (``sm_80``) runs on GPUs of the same first number and the same or a later second
    one; PTX (``compute_80``) on all later GPUs; what ends in ``a`` on that very capability, what
    ends in ``f`` as machine code does.

    Args:
        kernels: as ``torch.cuda.get_arch_list()`` says them.
        capability: e.g. ``(9, 0)``.
    """
    return any(_runs_on(kernel, capability) for kernel in kernels)


def fitting(driver: str, capabilities: Sequence[Capability]) -> Build | None:
    """The newest pinned build that runs on all of these GPUs with this driver; None: none does."""
    for build in reversed(BUILDS):
        runs = build.cuda is not None and driver_fits(driver, build.cuda)
        if runs and all(has_kernels(build.kernels, one) for one in capabilities):
            return build
    return None


def builds_markdown() -> str:
    """The table of the docs."""
    lines = [
        "| constraints | torch | CUDA | NVIDIA driver | GPUs (compute capability) |",
        "|---|---|---|---|---|",
    ]
    for build in BUILDS:
        driver = f"{least_driver(build.cuda)} or later" if build.cuda else "none is needed"
        kernels = ", ".join(_spoken(kernel) for kernel in build.kernels) or "none"
        lines.append(
            f"| `constraints/{build.name}.txt` | `{build.torch}` | {build.cuda or 'none'} "
            f"| {driver} | {kernels} |"
        )
    return "\n".join(lines) + "\n"


def _runs_on(kernel: str, capability: Capability) -> bool:
    match = _KERNEL.fullmatch(kernel)
    if match is None:
        return False
    built = int(match[2]), int(match[3])
    if match[4] == "a":
        return built == capability
    if match[1] == "compute":
        return built <= capability
    return built[0] == capability[0] and built[1] <= capability[1]


def _spoken(kernel: str) -> str:
    match = _KERNEL.fullmatch(kernel)
    assert match is not None
    return f"{match[2]}.{match[3]}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
