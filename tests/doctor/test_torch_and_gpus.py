"""What is said of torch, driver and GPUs, for machines that this one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.doctor.cuda_builds import BUILDS
from pipeline.doctor.torch_and_gpus import gpus_on_bus, torch_and_gpus
from pipeline.doctor.torch_probe import TorchBuild, installed_torch
from pipeline.machine import Gpu

KERNELS = {build.name: build.kernels for build in BUILDS}

CPU = TorchBuild(version="2.13.0+cpu")
CUDA_13 = TorchBuild(
    version="2.13.0+cu130", cuda="13.0", kernels=KERNELS["cuda13"], capabilities=((9, 0),)
)
CUDA_12 = TorchBuild(
    version="2.13.0+cu126", cuda="12.6", kernels=KERNELS["cuda12"], capabilities=((7, 0),)
)
BLIND = TorchBuild(version="2.13.0+cu130", cuda="13.0", kernels=KERNELS["cuda13"])


def gpu(capability: tuple[int, int] | None = (9, 0), name: str = "NVIDIA H100") -> Gpu:
    return Gpu(index=0, uuid="GPU-1", name=name, memory_bytes=80 * 2**30, capability=capability)


def said(
    torch: TorchBuild, driver: str | None, *gpus: Gpu, visible: str | None = None, **more
) -> dict[str, tuple[str, str, str]]:
    found = torch_and_gpus(torch, driver, gpus, visible=visible, **more)
    return {one.subject: (one.state, one.found, one.to_do) for one in found}


def states(found: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    return {subject: state for subject, (state, _, _) in found.items()}


def test_a_machine_where_all_goes_together() -> None:
    found = said(CUDA_13, "580.95.05", gpu())
    assert states(found) == {"torch": "ok", "driver": "ok", "gpu 0": "ok"}
    assert "compute capability 9.0: torch has kernels for it" in found["gpu 0"][1]


def test_a_machine_without_gpus() -> None:
    for torch in (CPU, BLIND):
        assert set(states(said(torch, None)).values()) == {"ok"}


def test_a_driver_that_is_too_old_names_the_one_needed_and_the_build_that_runs() -> None:
    found = said(BLIND, "550.54.15", gpu((8, 9), "NVIDIA L4"))
    assert states(found) == {"torch": "ok", "driver": "problem", "gpu 0": "ok"}
    _, what, to_do = found["driver"]
    assert what == "550.54.15 is too old for torch 2.13.0+cu130: CUDA 13.0 needs 580.65.06 or later"
    assert "torch==2.13.0+cu126 --index-url https://download.pytorch.org/whl/cu126 (in" in to_do
    assert "update the driver to 580.65.06 or later" in to_do


def test_a_driver_that_no_build_runs_on_must_be_updated() -> None:
    _, _, to_do = said(BLIND, "470.256.02", gpu())["driver"]
    assert to_do == "update the driver to 580.65.06 or later"


def test_what_computes_is_believed_more_than_the_table() -> None:
    # NVIDIA's compatibility package in a container: the kernel's driver is older than the table's.
    found = said(CUDA_13, "535.183.01", gpu())
    assert states(found) == {"torch": "ok", "driver": "ok", "gpu 0": "ok"}


def test_torch_without_cuda_where_there_is_a_gpu() -> None:
    found = said(CPU, "580.95.05", gpu())
    assert states(found) == {"torch": "problem", "driver": "ok", "gpu 0": "ok"}
    assert "torch===2.13.0" in found["torch"][2]
    assert "BUILD=cuda12" in said(CPU, "550.54.15", gpu())["torch"][2]
    assert "update the driver (470.1)" in said(CPU, "470.1", gpu())["torch"][2]


@pytest.mark.parametrize(
    ("capability", "driver", "build"),
    [((7, 0), "580.95.05", "BUILD=cuda12"), ((3, 7), "580.95.05", "another GPU")],
)
def test_a_gpu_that_the_build_has_no_kernels_for(capability, driver, build) -> None:
    state, what, to_do = said(CUDA_13, driver, gpu(capability, "Tesla"))["gpu 0"]
    assert (state, build in to_do) == ("problem", True)
    assert "has no kernels for it (sm_75 " in what


def test_a_volta_gpu_with_the_build_for_it() -> None:
    assert set(states(said(CUDA_12, "535.183.01", gpu((7, 0)))).values()) == {"ok"}


def test_a_gpu_on_the_bus_that_no_driver_answers_for() -> None:
    found = said(BLIND, None, on_bus=2)
    assert states(found) == {"torch": "ok", "driver": "problem", "gpus": "ok"}
    assert "2 NVIDIA GPUs are on the PCI bus" in found["driver"][1]


def test_gpus_that_the_environment_hides() -> None:
    found = said(BLIND, "580.95.05", visible="")
    assert states(found) == {"torch": "ok", "driver": "ok", "gpus": "note"}
    assert "CUDA_VISIBLE_DEVICES='' hides them" in found["gpus"][1]


def test_a_job_that_wants_gpus_where_there_are_none() -> None:
    found = said(CPU, None, wanted=True)
    assert states(found) == {"torch": "ok", "driver": "problem", "gpus": "problem"}


def test_torch_that_sees_fewer_gpus_than_the_driver() -> None:
    state, what, _ = said(CUDA_13, "580.95.05", gpu(), gpu())["torch"]
    assert (state, "sees 1 of 2 GPUs" in what) == ("problem", True)


@pytest.mark.parametrize("torch", [CPU, CUDA_13])
def test_torch_that_fails(torch: TorchBuild) -> None:
    broken = TorchBuild(version=torch.version, cuda=torch.cuda, failed="libcudart: no such file")
    state, what, to_do = said(broken, None)["torch"]
    assert (state, "libcudart" in what) == ("problem", True)
    assert to_do.startswith("install it again: pip install torch==2.13.0+cpu ")


def test_no_torch_at_all() -> None:
    state, what, to_do = said(TorchBuild(version=None), "580.95.05", gpu())["torch"]
    assert (state, what) == ("problem", "not installed")
    assert "torch===2.13.0" in to_do


def test_the_installed_torch_is_asked_in_a_process_of_its_own() -> None:
    import torch

    found = installed_torch()
    assert (found.version, found.cuda, found.failed) == (torch.__version__, torch.version.cuda, "")
    assert len(found.capabilities) == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("code", "failed"),
    [
        ("raise ImportError('libcudart.so.13: no such file')", "libcudart.so.13: no such file"),
        ("import os; os._exit(139)", "it ended with 139"),
    ],
)
def test_a_broken_torch_ends_no_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, failed: str
) -> None:
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    (package / "version.py").write_text(
        "from typing import Optional\n__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n"
    )
    monkeypatch.setattr("pipeline.doctor.torch_probe.find_spec", lambda _: Spec(package))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).resolve().parents[2]}")
    found = installed_torch()
    assert (found.version, found.cuda) == ("2.13.0+cu130", "13.0")
    assert failed in found.failed


class Spec:
    """Where a package lies that this process has another one of."""

    def __init__(self, package: Path) -> None:
        self.origin = str(package / "__init__.py")


def test_gpus_are_counted_by_the_bus(tmp_path: Path) -> None:
    for number, (vendor, kind) in enumerate(
        [("0x10de", "0x030200"), ("0x10de", "0x030000"), ("0x10de", "0x040300"),
         ("0x1002", "0x030000")]
    ):  # fmt: skip
        device = tmp_path / "sys/bus/pci/devices" / f"0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    assert gpus_on_bus(tmp_path) == 2
    assert gpus_on_bus(tmp_path / "none") == 0
