"""``--help``, ``plan``, ``status`` and configuration errors do not wait for torch, ray or s3fs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIGHT_ROOMS = (
    "plain_text",
    "errors",
    "schema",
    "resources",
    "hashes",
    "machine",
    "plugins",
    "config",
    "storage",
    "cluster",
    "candidates",
    "ranking",
    "checkpoints",
    "sequences",
    "images",
    "tokenization",
    "distillation.rules",
    "inspection",
    "cli",
)

# Imports the modules one by one and names the first that brings a heavy library along.
CHECK = """
import importlib, sys
for name in ["pipeline", *sys.argv[1:]]:
    importlib.import_module(name)
    heavy = {"torch", "transformers", "ray"} & set(sys.modules)
    if not name.startswith("pipeline.storage.s3"):
        # The client of a store that a job does not touch costs a second at every start.
        heavy |= {"s3fs", "aiobotocore", "botocore", "gcsfs"} & set(sys.modules)
    if heavy:
        sys.exit(f"importing {name} imports {', '.join(sorted(heavy))}")
"""


def modules(room: str) -> list[str]:
    """Every module of a room, the clients of S3 last; empty where there is no such room."""
    base = ROOT / "pipeline" / room
    files = sorted(base.glob("**/*.py")) if base.is_dir() else [base.with_suffix(".py")]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in files
        if path.is_file()
    ]
    return sorted(names, key=lambda name: name.startswith("pipeline.storage.s3"))


def imported(names: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHECK, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("room", [room for room in LIGHT_ROOMS if modules(room)])
def test_room_is_light(room: str) -> None:
    result = imported(modules(room))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("library", ["transformers", "s3fs"])
def test_a_heavy_import_is_caught(library: str) -> None:
    result = imported([library])
    assert result.returncode == 1
    assert result.stderr.startswith(f"importing {library} imports ")


def test_ray_is_imported_without_the_grammars_of_a_format_check() -> None:
    """Each process of Ray pays for what ``import ray`` brings: jsonschema takes all it finds."""
    words = [
        sys.executable,
        "-c",
        "import ray, sys; print(*{'lark', 'rfc3987_syntax'} & {*sys.modules})",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], "a dependency asks for jsonschema[format]: .ci/sbom.txt"
