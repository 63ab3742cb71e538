"""Drivers, kernels and pinned builds, against the wheels' own metadata."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import torch

from pipeline.doctor.cuda_builds import (
    BUILDS,
    PYTORCH_INDEX,
    Build,
    builds_markdown,
    driver_fits,
    fitting,
    has_kernels,
)

ROOT = Path(__file__).resolve().parents[2]
CPU, CUDA_12, CUDA_13 = BUILDS

#: What the wheel of each build that was looked at states of itself: see wheels/README.md.
WHEELS = Path(__file__).parent / "wheels"


@pytest.mark.parametrize(
    ("driver", "cuda", "fits"),
    [
        ("580.65.06", "13.0", True),
        ("580.65.05", "13.0", False),
        ("575.57.08", "13.0", False),
        ("615.10", "13.0", True),
        ("525.60.13", "12.6", True),
        ("535.183.01", "12.6", True),
        ("580.95.05", "12.6", True),
        ("470.256.02", "12.6", False),
        ("1000.1", "13.0", True),
        ("580.95.05", "14.0", True),
    ],
)
def test_which_driver_runs_which_cuda(driver: str, cuda: str, fits: bool) -> None:
    assert driver_fits(driver, cuda) is fits


@pytest.mark.parametrize(
    ("kernels", "capability", "runs"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 9), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["compute_80"], (9, 0), True),
        (["compute_90"], (8, 0), False),
        (["sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),
        (["sm_100f"], (10, 3), True),
        (["sm_120"], (12, 1), True),
        (["sm_75", "sm_90"], (7, 0), False),
        ([], (9, 0), False),
        (["gfx942"], (9, 4), False),
    ],
)
def test_which_gpu_has_kernels(kernels: list[str], capability: tuple[int, int], runs: bool) -> None:
    assert has_kernels(kernels, capability) is runs


@pytest.mark.parametrize(
    ("driver", "capabilities", "build"),
    [
        ("580.95.05", [(9, 0)], CUDA_13),
        ("580.95.05", [(12, 0)], CUDA_13),
        ("550.54.15", [(9, 0)], CUDA_12),
        ("580.95.05", [(7, 0)], CUDA_12),
        ("580.95.05", [(7, 0), (9, 0)], CUDA_12),
        ("550.54.15", [(10, 0)], None),
        ("450.80.02", [(8, 0)], None),
    ],
)
def test_the_build_to_install(driver: str, capabilities: list[tuple[int, int]], build) -> None:
    assert fitting(driver, capabilities) == build


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_constraints_pin_the_build_that_the_table_says(build) -> None:
    lines = (ROOT / "constraints" / f"{build.name}.txt").read_text().splitlines()
    told = [line for line in lines if line and not line.startswith("#")]
    same = "===" if build.on_pypi else "=="
    assert told == ["-c ../constraints.txt", f"torch{same}{build.torch}"]
    pinned = re.findall(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned == [build.torch.partition("+")[0]]


def test_the_installed_build_is_one_of_the_table_and_as_it_says() -> None:
    [build] = [build for build in BUILDS if build.shown == torch.__version__]
    assert version("torch") == build.torch
    assert torch.version.cuda == build.cuda
    assert tuple((torch._C._cuda_getArchFlags() or "").split() if build.cuda else ()) == (
        build.kernels
    )
    assert cuda_of_requirements(requires("torch") or []) == build.cuda


@pytest.mark.parametrize("file", sorted(WHEELS.glob("*.txt")), ids=lambda file: file.stem)
def test_wheels_that_were_looked_at_are_as_the_table_says(file: Path) -> None:
    stated = dict(re.findall(r"^([A-Z][\w-]+): (.*)$", file.read_text(), re.M))
    [build] = [build for build in BUILDS if build.torch == stated["Version"]]
    needed = re.findall(r"^Requires-Dist: (.*)$", file.read_text(), re.M)
    assert stated["Shown"] == build.shown
    assert stated["Cuda"] == build.cuda
    assert tuple(stated["Kernels"].split()) == build.kernels
    assert cuda_of_requirements(needed) == build.cuda


def test_the_docs_have_the_table() -> None:
    assert builds_markdown() in (ROOT / "docs" / "install.md").read_text()


def cuda_of_requirements(needed: list[str]) -> str | None:
    """CUDA's release by what a wheel has pip install; None where that is no part of CUDA."""
    for line in needed:
        found = re.match(r"(?:cuda-toolkit\S*|nvidia-cuda-runtime-cu\d+)==(\d+\.\d+)", line)
        if found is not None:
            return found[1]
    return None


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_make_and_the_image_find_a_build_that_pypi_has_not(build: Build, tmp_path: Path) -> None:
    words = ["make", "--dry-run", "install", f"BUILD={build.name}", f"VENV={tmp_path}/none"]
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    [install] = [line for line in done.stdout.splitlines() if line.endswith("torch")]
    index = f"--extra-index-url {PYTORCH_INDEX}/{build.torch.partition('+')[2]}"
    assert f"-c constraints/{build.name}.txt" in install
    assert ("--extra-index-url" in install) == (not build.on_pypi)
    if not build.on_pypi:
        assert index in install
        assert f'ARG TORCH_ARGS="{index}"' in (ROOT / "Dockerfile").read_text(encoding="utf-8")
