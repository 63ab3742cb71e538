"""Device and precision rules, in one place and readable without torch."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pipeline.engine import processor
from pipeline.errors import ConfigurationError
from pipeline.networks.linears.conversion import Products

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

logger = logging.getLogger("pipeline")

#: Tokens per forward pass. On CPU small batches stay in cache; on GPU large ones fill it.
DEFAULT_TOKEN_BUDGET: Final = {"cpu": 2_048, "cuda": 131_072}

#: Precisions of quantised linear layers, and what everything around them computes in. bfloat16
#: around int8 was measured to be no faster.
AROUND: Final = {"int8": "float32", "float8": "bfloat16"}

#: Compute capability from which on NVIDIA GPUs multiply float8 (Ada; Hopper is 9.0).
_FLOAT8_CAPABILITY: Final = (8, 9)


@dataclass(frozen=True)
class _Cpu:
    """What of :class:`torch.device` an engine looks at."""

    type: str = "cpu"
    index: int | None = None


#: The device of families that compute in NumPy: the CPU, without an import of torch.
NUMPY_DEVICE: Final = cast("torch.device", _Cpu())


def device_kind(num_gpus: float) -> str:
    """``cuda`` where a replica has a GPU or a share of one, else ``cpu``."""
    return "cuda" if num_gpus > 0 else "cpu"


def best_device_kind() -> str:
    """``cuda`` where torch sees a GPU in this process, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: torch.device) -> str:
    """What a device is called: ``cpu``, or the name that its driver gives a GPU."""
    if device.type != "cuda":
        return device.type
    import torch

    return torch.cuda.get_device_name(device)


def dtype_name(asked: str, kind: str) -> str:
    """The precision of the network's body: bfloat16 on GPU and float32 on CPU unless asked.

    On CPU nothing below float32 is the default: it changes scores by 1e-2, and what it saves
    depends on the processor (see docs/benchmarks.md).

    Raises:
        ConfigurationError: such a device does not compute in the precision that is asked for.
    """
    if asked == "auto":
        return "bfloat16" if kind == "cuda" else "float32"
    if asked == "int8" and kind == "cuda":
        raise ConfigurationError(
            "engine.dtype: int8 is for CPUs, and these replicas have GPUs; take float8 on a GPU "
            "of compute capability 8.9 or later, bfloat16 on an older one, or set "
            "replicas.num_gpus to 0 (in Python: device='cpu')"
        )
    if asked == "float8" and kind == "cpu":
        raise ConfigurationError(
            "engine.dtype: float8 is for GPUs of compute capability 8.9 or later, and these "
            "replicas have none; take int8 on a CPU, or set replicas.num_gpus (in Python: "
            "device='cuda')"
        )
    return asked


def kind_of_place(place: str) -> str:
    """``cpu`` or ``cuda`` of a device's name.

    Raises:
        ConfigurationError: it names neither.
    """
    kind, separator, number = place.partition(":")
    if kind == "cpu" and not number.strip("0"):
        return kind
    if kind == "cuda" and bool(separator) == number.isdecimal():
        return kind
    raise ConfigurationError(
        f"device: '{place}' is not one that is run here; known: cpu, cuda, cuda:N"
    )


def use_threads(count: float) -> None:
    """Let torch compute with this many CPU threads in this process, one at least."""
    import torch

    torch.set_num_threads(max(1, round(count)))


def use_deterministic_kernels() -> None:
    """Make this process choose kernels that give the same bits every time, or fail where none is.

    https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    import os

    import torch

    # Read by cuBLAS when its first handle is made, which is later than this.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def torch_dtype(name: str) -> torch.dtype:
    """What a network is loaded in for a precision; where linear layers are quantised, the rest."""
    import torch

    dtype: torch.dtype = getattr(torch, AROUND.get(name, name))
    return dtype


def quantised(name: str) -> Products:
    """What a precision quantises linear layers to; None where it does not."""
    known: dict[str, Products] = {"int8": "int8", "float8": "float8"}
    return known.get(name)


def torch_device(place: str) -> torch.device:
    """The device of this process.

    Args:
        place: ``cpu``, ``cuda`` (torch's current GPU) or ``cuda:N``.

    Raises:
        ConfigurationError: it is none of these, or torch sees no such GPU.
    """
    import torch

    if kind_of_place(place) == "cpu":
        return torch.device("cpu")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not seen:
        raise ConfigurationError(
            "replicas.num_gpus: torch sees no GPU in this process; set it to 0 (in Python: "
            "device='cpu'), or install a CUDA build of torch on the GPU nodes"
        )
    number = place.partition(":")[2]
    if number and int(number) >= seen:
        raise ConfigurationError(
            f"device: '{place}' does not exist; torch sees {seen}, counted from cuda:0"
        )
    return torch.device(place)


@contextmanager
def computing(device: torch.device) -> Iterator[None]:
    """While the body runs, forward passes on the device are made for their results alone."""
    if device is NUMPY_DEVICE:
        yield
        return
    import torch

    with torch.inference_mode(), current(device):
        yield


def current(device: torch.device) -> AbstractContextManager[Any]:
    """While the body runs, a GPU with a number is torch's current one in this thread.

    Kernels of Triton and of libraries are launched on the current one, wherever their tensors are.
    """
    if device.type != "cuda" or device.index is None:
        return nullcontext()
    import torch

    return torch.cuda.device(device)


def check_precision(name: str, device: torch.device) -> None:
    """Refuse a precision that this processor or GPU does not compute in; warn of a slow one.

    Raises:
        ConfigurationError: int8 without instructions for sums of 8-bit products, or float8 on a
            GPU without them.
    """
    if device.type == "cuda":
        if name == "float8":
            _check_float8(device)
        return
    if name == "int8" and not processor.has_int8():
        raise ConfigurationError(
            f"engine.dtype: int8 needs a processor with {processor.named(processor.INT8)}, which "
            f"{processor.name()} is not: without them sums of 8-bit products are cut off at 16 "
            "bits. Take float32"
        )
    if name == "bfloat16" and not processor.has_bfloat16():
        logger.warning(
            "engine.dtype: bfloat16 on %s, which has none of %s: it takes about three times as "
            "long as float32, and scores are less exact; float32 is better in both",
            processor.name(),
            processor.named(processor.BFLOAT16),
        )


def _check_float8(device: torch.device) -> None:
    import torch

    found = torch.cuda.get_device_capability(device)
    if found < _FLOAT8_CAPABILITY:
        raise ConfigurationError(
            f"engine.dtype: float8 needs a GPU of compute capability 8.9 or later, and "
            f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}; take bfloat16"
        )
