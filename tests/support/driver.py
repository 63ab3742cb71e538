"""Stands in for NVIDIA's library: a driver with GPUs that this machine has not.

The place where it is put in is ``sys.modules["pynvml"]``, which :mod:`pipeline.machine.nvidia`
imports; everything above that is real.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU of the driver; ``instances`` are bytes of those that it is divided into."""

    name: str = "NVIDIA H100 80GB HBM3"
    memory: int = 80 * 2**30
    capability: tuple[int, int] | None = (9, 0)
    uuid: str = "GPU-00000000-aaaa"
    instances: tuple[int, ...] = ()


class NVMLError(Exception):
    """As the library's own."""


@dataclass
class Driver:
    """A driver that answers with ``cards``, or with nothing where it is ``broken``."""

    cards: list[Card] = field(default_factory=list)
    version: str = "580.95.05"
    cuda: int = 13000
    broken: bool = False

    def install(self, monkeypatch: pytest.MonkeyPatch, *, visible: str | None = None) -> None:
        """Put it in place, with a value of CUDA_VISIBLE_DEVICES; None: without one."""
        module = ModuleType("pynvml")
        module.NVMLError = NVMLError  # type: ignore[attr-defined]
        for name in dir(self):
            if name.startswith("nvml"):
                setattr(module, name, getattr(self, name))
        monkeypatch.setitem(sys.modules, "pynvml", module)
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def nvmlInit(self):
        if self.broken:
            raise NVMLError("Driver/library version mismatch")

    def nvmlShutdown(self):
        pass

    def nvmlSystemGetDriverVersion(self):
        return self.version.encode()

    def nvmlSystemGetCudaDriverVersion_v2(self):
        return self.cuda

    def nvmlDeviceGetCount(self):
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetName(self, card):
        return card.name

    def nvmlDeviceGetUUID(self, card):
        return card.uuid

    def nvmlDeviceGetMemoryInfo(self, card):
        if not card.memory:
            raise NVMLError("Not Supported")
        return SimpleNamespace(total=card.memory)

    def nvmlDeviceGetCudaComputeCapability(self, card):
        if card.capability is None:
            raise NVMLError("Not Supported")
        return card.capability

    def nvmlDeviceGetMigMode(self, card):
        if card.capability is None or card.capability < (8, 0):
            raise NVMLError("Not Supported")
        return int(bool(card.instances)), 0

    def nvmlDeviceGetMaxMigDeviceCount(self, card):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card, number):
        if number >= len(card.instances):
            raise NVMLError("Not Found")
        name, uuid = f"{card.name} MIG {number}", card.uuid.replace("GPU", f"MIG-{number}")
        return Card(name=name, memory=card.instances[number], uuid=uuid, capability=None)


def torch_of(cuda: str | None, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make the installed torch one that was built for a version of CUDA, as its files say."""
    spec = find_spec("torch")
    assert spec is not None
    (folder / "version.py").write_text(f"cuda = {cuda!r}\n", encoding="utf-8")
    monkeypatch.setattr(spec, "origin", str(folder / "__init__.py"))
