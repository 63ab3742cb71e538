"""A GPU that is none: code for CUDA with real numbers and checks, on a machine without a card.

Tensors "on the GPU" say so (``device``, ``is_cuda``) and hold their numbers in the host's memory.
Whatever CUDA refuses is refused here, too: tensors of the host among arguments, the kernel's
conditions on attention. What makes the host wait for the device is written down, with the place in
our code that did it. A copy to the host that is not waited for has not happened until something
waits. Kernels of our own run in Triton's interpreter, compiled functions as they are written.

It says nothing about speed, about what a compiler does, or about a kernel's rounding.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.weak import WeakIdKeyDictionary

aten = torch.ops.aten

#: What the host cannot go on from before the device has answered.
_ASKS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.is_nonzero, aten.equal,
    aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.item,
}  # fmt: skip

#: What may have tensors of both sides.
_MOVES = {aten._to_copy, aten.copy_, aten.copy, aten.to}

_INDEXES = {aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_}


class OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=torch.device("cuda", 0),
            requires_grad=False,
        )
        made.host = host
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.host!r})"

    def tolist(self) -> Any:
        """What torch does without an operator."""
        assert SimulatedGpu.current is not None
        SimulatedGpu.current.wait("tolist")
        return self.host.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu = SimulatedGpu.current
        assert gpu is not None
        return gpu.call(func, args, kwargs or {})


@dataclass
class SimulatedGpu:
    """What happened on it.

    Attributes:
        waits: calls that made the host wait, each with the line of this package that it is from.
        pending: copies to the host that have not happened yet.
        pinned: tensors of the host that the device can read by itself.
    """

    waits: list[str] = field(default_factory=list)
    pending: list[Callable[[], Any]] = field(default_factory=list)
    pinned: Any = field(default_factory=WeakIdKeyDictionary)
    current: ClassVar[SimulatedGpu | None] = None

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator on what tensors hold."""
        kind = func.overloadpacket
        leaves, _ = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        asked = kwargs.get("device")
        on_gpu = bool(here) if asked is None else torch.device(asked).type == "cuda"
        if here and kind not in _MOVES:
            self._check_places(func, kind, args, tensors)
        unknown = kind is aten.repeat_interleave and kwargs.get("output_size") is None
        if kind in _ASKS or unknown or (kind is aten.index and _by_mask(args)):
            self.wait(str(func))
        if kind in (aten.copy_, aten._to_copy):
            return self._move(func, kind, args, kwargs, on_gpu)
        if func.name() == "torch_attn::_varlen_attn":
            return tree_map(OnGpu, varlen_attention(*_held(args), **_held(kwargs)))
        kwargs = _held(kwargs)
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        is_pinned = bool(kwargs.pop("pin_memory", False))
        out = func(*_held(args), **kwargs)
        if is_pinned:
            self.pinned[out] = True
        if not on_gpu:
            return out
        return _put_back(out, args, kwargs)

    def _check_places(self, func: Any, kind: Any, args: Any, tensors: list[torch.Tensor]) -> None:
        strangers = [t for t in tensors if not isinstance(t, OnGpu) and t.dim() > 0]
        if kind in _INDEXES and isinstance(args[0], OnGpu):
            # CUDA takes indices of the host, and copies them while everything waits.
            for _ in strangers:
                self.wait(f"{func} by an index of the host")
            return
        if strangers:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu! ({func})"
            )

    def _move(self, func: Any, kind: Any, args: Any, kwargs: dict[str, Any], on_gpu: bool) -> Any:
        source = args[1] if kind is aten.copy_ else args[0]
        freely = bool(kwargs.get("non_blocking", len(args) > 2 and args[2]))
        came_from = isinstance(source, OnGpu)
        if kind is aten.copy_:
            target = args[0]
            if came_from and not isinstance(target, OnGpu):
                if freely and target in self.pinned:
                    held, to = source.host.clone(), target
                    self.pending.append(lambda: to.copy_(held))
                    return target
                self.wait("a copy to the host")
            alone = isinstance(target, OnGpu) and not came_from and source.dim() > 0
            if alone and not (freely and source in self.pinned):
                self.wait("a copy from memory that is not pinned")
            _held(target).copy_(_held(source))
            return target
        where = kwargs.pop("device", None)
        kwargs.pop("pin_memory", None)
        to_gpu = came_from if where is None else torch.device(where).type == "cuda"
        if came_from and not to_gpu:
            self.wait("a copy to the host")
        if to_gpu and not came_from and not (freely and source in self.pinned):
            self.wait("a copy from memory that is not pinned")
        out = func(_held(source), **kwargs)
        if out is _held(source):
            out = out.clone()
        return OnGpu(out) if to_gpu else out

    def wait(self, what: str) -> None:
        """The host waits for everything that is queued."""
        ours = [
            f"{frame.filename.rpartition('/pipeline/')[2]}:{frame.lineno}"
            for frame in traceback.extract_stack()
            if "/pipeline/" in frame.filename and "/tests/" not in frame.filename
        ]
        self.waits.append(f"{what} at {ours[-1] if ours else 'a test'}")
        self.finish()

    def finish(self) -> None:
        """What was queued has happened."""
        pending, self.pending = self.pending, []
        for each in pending:
            each()


def _by_mask(args: Any) -> bool:
    return any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1])


def _held(value: Any) -> Any:
    return tree_map(lambda each: each.host if isinstance(each, OnGpu) else each, value)


def _put_back(out: Any, args: Any, kwargs: Any) -> Any:
    """Results on the GPU; what an operator wrote into is the tensor that it was given."""
    leaves, _ = tree_flatten((args, kwargs))
    given = {id(leaf.host): leaf for leaf in leaves if isinstance(leaf, OnGpu)}

    def back(each: Any) -> Any:
        if not isinstance(each, torch.Tensor):
            return each
        return given.get(id(each)) if id(each) in given else OnGpu(each)

    return tree_map(back, out)


def varlen_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_edges: torch.Tensor,
    key_edges: torch.Tensor,
    longest_query: int,
    longest_key: int,
    is_causal: bool = False,
    scale: float | None = None,
    window: Any = None,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What FlashAttention-2 gives, and what it refuses (aten/src/ATen/native/.../flash_api.cpp)."""
    from pipeline.networks.attention.plan import Call, Segments
    from pipeline.networks.attention.runs import by_runs

    def asked(holds: bool, message: str) -> None:
        if not holds:
            raise RuntimeError(message)

    asked(
        query.dtype in (torch.float16, torch.bfloat16), "FlashAttention only support fp16 and bf16"
    )
    asked(key.dtype == value.dtype == query.dtype, "query and key must have the same dtype")
    for edges in (query_edges, key_edges):
        asked(edges.dtype == torch.int32, "cu_seqlens must have dtype int32")
        asked(edges.is_contiguous(), "cu_seqlens must be contiguous")
    for tensor in (query, key, value):
        asked(tensor.stride(-1) == 1, "Input tensor must have contiguous last dimension")
        asked(tensor.shape[-1] % 8 == 0, "head_size must be a multiple of 8")
        asked(tensor.shape[-1] <= 256, "FlashAttention forward only supports head dimension <= 256")
    asked(query.shape[1] % key.shape[1] == 0, "Number of heads in key/value must divide query's")
    asked(len(query_edges) == len(key_edges), "batch sizes differ")
    edges = [each.long().numpy() for each in (query_edges, key_edges)]
    for each, rows, longest in zip(edges, (query, key), (longest_query, longest_key), strict=True):
        asked(int(each[-1]) == len(rows), "cu_seqlens do not end where the rows do")
        asked(int(np.diff(each).max()) <= longest, "a sequence is longer than the longest")
    sides = tuple(window or (-1, -1))
    if is_causal:
        sides = (-1, 0)
    plain = sides in {(-1, -1), (-1, 0)}
    call = Call(
        query=query.float(), key=key.float(), value=value.float(), segments=Segments(*edges),
        window=sides, scale=query.shape[-1] ** -0.5 if scale is None else scale, sums=plain,
    )  # fmt: skip
    out, sums = by_runs(call)
    sums = torch.zeros(query.shape[:2]) if sums is None else sums
    return (
        out.to(query.dtype),
        sums.transpose(0, 1).contiguous(),
        torch.zeros(2, dtype=torch.uint64),
    )


class _Everywhere(TorchDispatchMode):
    """Operators whose tensors are all the host's, or that have none."""

    def __init__(self, gpu: SimulatedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.gpu.call(func, args, kwargs or {})


def _launched(*tensors: torch.Tensor | None) -> list[torch.Tensor]:
    """What tensors hold that a kernel of Triton is launched with."""
    if not all(tensor is None or isinstance(tensor, OnGpu) for tensor in tensors):
        raise ValueError("Pointer argument cannot be accessed from Triton (cpu tensor?)")
    return [_held(tensor) for tensor in tensors if tensor is not None]


def encoder_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Any,
    *,
    scale: float | None = None,
    slopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """What our kernel gives, whose own tests run it in Triton's interpreter: slowly."""
    held = _launched(query, key, value, *segments.offsets(query.device), slopes)
    (q, k, v), edges = (tensor.float() for tensor in held[:3]), held[3:5]
    groups, scale = q.shape[1] // k.shape[1], q.shape[2] ** -0.5 if scale is None else scale
    k, v = (tensor.repeat_interleave(groups, dim=1) for tensor in (k, v))
    out = torch.empty_like(q)
    spans = zip(*(pairwise(each.tolist()) for each in edges), strict=True)
    for (first, last), (start, stop) in spans:
        scores = torch.einsum("qhd,khd->hqk", q[first:last], k[start:stop]) * scale
        if slopes is not None:
            apart = torch.arange(last - first)[:, None] - torch.arange(stop - start)
            scores -= held[5][:, None, None] * apart.abs()
        out[first:last] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[start:stop])
    return OnGpu(out.to(query.dtype))


def norm_rotate(
    heads: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    query_norm: torch.Tensor,
    key_norm: torch.Tensor,
    eps: float,
    queries: int,
) -> torch.Tensor:
    """Likewise."""
    from pipeline.networks.pointwise import norm_rotate_heads

    return OnGpu(norm_rotate_heads(*_launched(heads, cos, sin, query_norm, key_norm), eps, queries))


class _Event:
    def __init__(self, **_: Any) -> None:
        self.recorded = False

    def record(self, stream: Any = None) -> None:
        self.recorded = True

    def query(self) -> bool:
        return self.recorded

    def synchronize(self) -> None:
        assert SimulatedGpu.current is not None
        SimulatedGpu.current.finish()

    def elapsed_time(self, other: _Event) -> float:
        assert self.recorded and other.recorded
        return 1.0


def _cuda(gpu: SimulatedGpu) -> dict[str, Any]:
    """What of ``torch.cuda`` is asked for."""

    @contextmanager
    def device(_: Any) -> Iterator[None]:
        yield

    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "device": device,
        "get_device_capability": lambda _=None: (9, 0),
        "get_device_name": lambda _=None: "simulated",
        "is_bf16_supported": lambda *_, **__: True,
        "mem_get_info": lambda _=None: (130 << 30, 140 << 30),
        "memory_allocated": lambda _=None: 0,
        "max_memory_allocated": lambda _=None: 0,
        "reset_peak_memory_stats": lambda _=None: None,
        "synchronize": lambda _=None: gpu.finish(),
        "empty_cache": lambda: None,
        "current_stream": lambda _=None: SimpleNamespace(synchronize=gpu.finish),
        "Event": _Event,
    }


#: What torch asks before it touches a tensor of a device; built without CUDA it has no answer.
_GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace {
using Guard = c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>;
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
}
"""


#: Why there can be none here; None where there can.
NOT_HERE = (
    "torch is built for CUDA"
    if torch.backends.cuda.is_built()
    else "needs g++"
    if shutil.which("g++") is None
    else None
)


@cache
def _guard() -> None:
    """Tell torch how to change to a GPU: not at all."""
    place = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "guard.cpp"), Path(folder, "guard.so")
        source.write_text(_GUARD)
        subprocess.run(
            ["g++", "-O0", "-std=c++20", "-shared", "-fPIC", str(source), "-o", str(library),
             f"-I{place / 'include'}", f"-L{place / 'lib'}", "-lc10"],
            check=True,
        )  # fmt: skip
        ctypes.CDLL(str(library))


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGpu]:
    """While the body runs, this thread has a GPU."""
    from pipeline.networks import fusing, refusals, triton_rotation
    from pipeline.networks.attention import kernels, triton_kernel

    torch.backends.cuda.is_built() or _guard()
    gpu = SimulatedGpu()
    with pytest.MonkeyPatch.context() as patch, ExitStack() as undo:
        for name, value in _cuda(gpu).items():
            patch.setattr(torch.cuda, name, value)
        # Else a parameter would be moved without what makes it one of these tensors.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        undo.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        patch.setattr(torch, "compile", lambda function, **_: function)
        patch.setattr(
            torch, "inference_mode", torch.no_grad
        )  # views of such tensors lose their class
        patch.setattr(fusing, "_compiles", lambda: True)
        patch.setattr(kernels, "_CHOSEN", {})
        patch.setattr(kernels, "_REFUSED", set())
        patch.setattr(refusals, "_REFUSED", {})
        patch.setattr(triton_kernel, "encoder_attention", encoder_attention)
        patch.setattr(triton_rotation, "norm_rotate", norm_rotate)

        def pin(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
            pinned = tensor.clone()
            gpu.pinned[pinned] = True
            return pinned

        plain_tensor = torch.tensor

        def tensor(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
            made = plain_tensor(data, **kwargs)
            return made if device is None else made.to(device)

        patch.setattr(torch, "tensor", tensor)  # which asks no one else for a tensor
        patch.setattr(torch.Tensor, "pin_memory", pin)
        patch.setattr(torch.Tensor, "is_pinned", lambda tensor, *_: tensor in gpu.pinned)
        patch.setattr(SimulatedGpu, "current", gpu)
        # What autograd notes of a tensor it asks the device's own code for.
        with torch.no_grad(), _Everywhere(gpu):
            yield gpu
