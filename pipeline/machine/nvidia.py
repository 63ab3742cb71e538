"""NVIDIA GPUs that a process would see, asked of the driver through NVML: without torch and CUDA.

NVML is the driver's own library for questions (https://docs.nvidia.com/deploy/nvml-api/), and
``nvidia-ml-py`` (imported as ``pynvml``) is NVIDIA's Python face of it. Where there is no driver,
or one that does not answer, there is no GPU for us either: nothing here raises.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU, or the instance of one that is divided (MIG).

    Attributes:
        index: of the GPU in NVML, which counts by PCI bus. CUDA counts the fastest GPU first,
            unless CUDA_DEVICE_ORDER=PCI_BUS_ID; where all are alike both are the same.
        uuid: of the GPU or instance, as CUDA_VISIBLE_DEVICES takes it.
        name: of the product, e.g. ``NVIDIA H100 80GB HBM3``.
        memory_bytes: that it has, used or not.
        capability: CUDA compute capability, e.g. ``(9, 0)``; None where the driver does not say.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int
    capability: tuple[int, int] | None


def gpus(environment: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """The GPUs that a process sees, in the order in which CUDA_VISIBLE_DEVICES names them.

    Of a GPU that is divided (MIG), a process sees the first instance unless that variable names
    another one.

    Args:
        environment: of the process; None: ours.
    """
    asked = (os.environ if environment is None else environment).get(_VISIBLE)
    with _driver() as nvml:
        if nvml is None:
            return ()
        try:
            found, instances = _all(nvml)
        except nvml.NVMLError:
            return ()
    return found if asked is None else visible(asked, found, instances)


def driver_version() -> str | None:
    """Version of the installed NVIDIA driver, e.g. ``580.95.05``; None: none answers."""
    with _driver() as nvml:
        if nvml is None:
            return None
        try:
            return _text(nvml.nvmlSystemGetDriverVersion())
        except nvml.NVMLError:
            return None


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA version that the driver runs, e.g. ``(13, 0)``; None: none answers.

    A driver runs what was built for older versions, and for newer ones of the same major number
    (https://docs.nvidia.com/deploy/cuda-compatibility/).
    """
    with _driver() as nvml:
        if nvml is None:
            return None
        try:
            number = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        except nvml.NVMLError:
            return None
    return number // 1000, number % 1000 // 10


def visible(asked: str, found: Sequence[Gpu], instances: Sequence[Gpu] = ()) -> tuple[Gpu, ...]:
    """Those that a value of CUDA_VISIBLE_DEVICES names, as CUDA reads it.

    Indices, or UUIDs or their beginnings; the first entry that names nothing ends the list, and one
    that stands twice empties it
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables).

    Args:
        asked: the value; empty for none.
        found: all GPUs, by index.
        instances: of those that are divided.
    """
    named: list[Gpu] = []
    for word in (part.strip() for part in asked.split(",")):
        if word.isdecimal():
            hits = [gpu for gpu in found if gpu.index == int(word)]
        elif word.startswith(("GPU-", "MIG-")):
            hits = [gpu for gpu in (*found, *instances) if gpu.uuid.startswith(word)]
        else:
            hits = []
        distinct = {gpu.uuid: gpu for gpu in hits}
        if len(distinct) != 1:
            break
        named += distinct.values()
    return tuple(named) if len({gpu.uuid for gpu in named}) == len(named) else ()


def _all(nvml: Any) -> tuple[tuple[Gpu, ...], tuple[Gpu, ...]]:
    """All GPUs, each divided one as its first instance, and all instances."""
    found, instances = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        parts = [_gpu(nvml, index, part, handle) for part in _instances(nvml, handle)]
        found.append(parts[0] if parts else _gpu(nvml, index, handle, handle))
        instances += parts
    return tuple(found), tuple(instances)


def _gpu(nvml: Any, index: int, handle: Any, whole: Any) -> Gpu:
    """One GPU or instance.

    Args:
        nvml: the library.
        index: of the GPU.
        handle: of the GPU or instance.
        whole: of the GPU, which alone knows its compute capability.
    """
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(whole)
        capability = (int(major), int(minor))
    except nvml.NVMLError:
        capability = None
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=_memory(nvml, handle),
        capability=capability,
    )


def _memory(nvml: Any, handle: Any) -> int:
    """Bytes; of a GPU that shares the memory of its host, which NVML does not count, 0."""
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:
        return 0


def _instances(nvml: Any, handle: Any) -> Iterator[Any]:
    """Handles of the instances that a GPU is divided into; none where it is whole."""
    try:
        divided, _ = nvml.nvmlDeviceGetMigMode(handle)
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if divided else 0
    except nvml.NVMLError:  # GPUs that cannot be divided do not know the question
        return
    for number in range(most):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError:  # no instance has this number
            continue


@contextmanager
def _driver() -> Iterator[ModuleType | None]:
    """NVML, ready to be asked; None where it is not installed or does not answer."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
