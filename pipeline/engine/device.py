"""Device and precision rules, in one place and readable without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

#: Tokens per forward pass. On CPU small batches stay in cache; on GPU large ones fill it.
DEFAULT_TOKEN_BUDGET: Final = {"cpu": 2_048, "cuda": 131_072}


def device_kind(num_gpus: float) -> str:
    """``cuda`` where a replica has a GPU or a share of one, else ``cpu``."""
    return "cuda" if num_gpus > 0 else "cpu"


def best_device_kind() -> str:
    """``cuda`` where torch sees a GPU in this process, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_name(asked: str, kind: str) -> str:
    """The precision of the network's body: bfloat16 on GPU and float32 on CPU unless asked.

    bfloat16 on CPU runs at about 0.3 times the speed of float32 and is used only where asked for.
    """
    if asked != "auto":
        return asked
    return "bfloat16" if kind == "cuda" else "float32"


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
    """The torch object of a precision's name."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype


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
