"""Who may import whom. Read from the syntax tree, so an import inside a function counts as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest first: a room may import itself and the rooms of the layers before its own.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("pipeline.plain_text", "pipeline.plurals"),
    ("pipeline.errors", "pipeline.failpoints"),
    (
        "pipeline.schema",
        "pipeline.resources",
        "pipeline.hashes",
        "pipeline.plugins",
        "pipeline.extras",
        "pipeline.machine",
        "pipeline.build_info",
    ),
    ("pipeline.config.reading",),
    ("pipeline.config",),
    ("pipeline.storage",),
    ("pipeline.storage.parquet", "pipeline.cluster"),
    (
        "pipeline.candidates",
        "pipeline.ranking",
        "pipeline.checkpoints",
        "pipeline.sequences",
        "pipeline.distillation.rules",
        "pipeline.pricing",
    ),
    ("pipeline.images",),
    ("pipeline.sources",),
    ("pipeline.tokenization",),
    ("pipeline.prompts",),
    ("pipeline.networks.refusals", "pipeline.networks.unfilled"),
    ("pipeline.networks.fusing", "pipeline.networks.linears"),
    ("pipeline.networks.attention",),
    ("pipeline.networks",),
    ("pipeline.networks.encoders", "pipeline.networks.decoders"),
    ("pipeline.rerankers",),
    ("pipeline.engine",),
    ("pipeline.outputs", "pipeline.reports"),
    ("pipeline.forecast",),
    ("pipeline.staging",),
    ("pipeline.distillation.formats",),
    ("pipeline.execution.runs",),
    ("pipeline.refresh.publications",),
    ("pipeline.execution.units", "pipeline.execution.report"),
    ("pipeline.execution.live",),
    ("pipeline.execution", "pipeline.api"),
    ("pipeline.refresh.changes",),
    ("pipeline.refresh.gates",),
    ("pipeline.refresh",),
    ("pipeline.distillation.sets", "pipeline.inspection"),
    ("pipeline.distillation",),
    ("pipeline.bench.inputs",),
    ("pipeline.bench.models",),
    ("pipeline.demo", "pipeline.bench", "pipeline.distillation.student", "pipeline.doctor"),
    ("pipeline.comparison",),
    ("jobs",),
    ("pipeline.commands",),
    ("pipeline.cli",),
    ("rerank_pipeline",),
)
PACKAGES = ("pipeline", "jobs", "rerank_pipeline")
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Libraries that only some rooms, or single modules, may import.
OWNERS = {
    "torch": (
        "pipeline.bench",
        "pipeline.bench.models",
        "pipeline.checkpoints",
        "pipeline.distillation.student",
        "pipeline.doctor.torch_probe",
        "pipeline.engine",
        "pipeline.networks",
        "pipeline.networks.attention",
        "pipeline.networks.decoders",
        "pipeline.networks.encoders",
        "pipeline.networks.fusing",
        "pipeline.networks.linears",
        "pipeline.networks.refusals",
        "pipeline.networks.unfilled",
        "pipeline.prompts",
        "pipeline.rerankers",
        "pipeline.sequences.batch",  # the type of a device
    ),
    "transformers": (
        "pipeline.bench",
        "pipeline.bench.models",
        "pipeline.checkpoints",
        "pipeline.distillation.student",
        "pipeline.engine",
        "pipeline.networks",
        "pipeline.networks.decoders",
        "pipeline.networks.encoders",
        "pipeline.prompts",
        "pipeline.rerankers",
    ),
    # In an extra, so that what is installed without it must not need it.
    "sentence_transformers": ("pipeline.distillation.student",),
    "ray": (
        "pipeline.cluster.job_server",
        "pipeline.cluster.nodes",
        "pipeline.cluster.ray_start",
        "pipeline.cluster.ray_tasks",
        "pipeline.cluster.ray_looks",
        "pipeline.distillation.sets.part_tasks",
        "pipeline.execution.graph",
        "pipeline.execution.live.ray_metrics",
        "pipeline.execution.live.ray_reports",
        "pipeline.execution.units.isolated_workers",
        "pipeline.refresh.reuse.graph",
        "pipeline.staging.graph",
    ),
    "fsspec": ("pipeline.storage",),
    "s3fs": ("pipeline.storage",),
    "aiobotocore": ("pipeline.storage",),
    "botocore": ("pipeline.storage",),
    "pyarrow.fs": ("pipeline.storage",),
    "pynvml": ("pipeline.machine",),
}

# What a checkout has and an installed package has not.
CHECKOUT_ONLY = ("benchmarks", "tests")

# Names of the package itself, and the room that each one stands for.
ROOT_NAMES = {
    "pipeline.load": "pipeline.api",
    "pipeline.latest": "pipeline.refresh.publications",
    "pipeline.__version__": "pipeline",
}


def violations(root: Path) -> list[str]:
    """One line per forbidden import below the folders of :data:`PACKAGES`."""
    found = []
    for path in sorted(path for name in PACKAGES for path in root.glob(f"{name}/**/*.py")):
        relative = path.relative_to(root)
        module = module_name(relative)
        room = room_of(module)
        if room != "pipeline" and room not in LEVEL:
            found.append(f"{relative}: {room} is no room yet; give it a place in LAYERS")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for line, name in imports(tree, relative):
            problem = forbidden(module, name)
            if problem:
                found.append(f"{relative}:{line}: {room} imports {name}: {problem}")
    return found


def forbidden(module: str, name: str) -> str | None:
    """Why ``module`` may not import ``name``; None where it may."""
    room = room_of(module)
    for library, owners in OWNERS.items():
        if is_of(library, name) and not {room, module} & set(owners):
            return f"only {' and '.join(owners)} may import {library}"
    if name.split(".")[0] in CHECKOUT_ONLY:
        return "it is not installed with the package"
    if name.split(".")[0] not in PACKAGES or name.startswith("rerank_pipeline.names"):
        return None
    target = ROOT_NAMES.get(name) or room_of(name)
    if target in (room, "pipeline") or room == "pipeline":
        return None
    if target not in LEVEL:
        return f"{target} is no room; import it from where it is defined"
    if LEVEL[target] >= LEVEL[room]:
        return "imports point down only (see LAYERS)"
    return None


def is_of(library: str, name: str) -> bool:
    return name == library or name.startswith(f"{library}.")


def imports(tree: ast.AST, relative: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported, ``import_module("...")`` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = imported_from(node, relative)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).split(".")[-1]
            argument = node.args[0]
            if called in ("import_module", "__import__") and isinstance(argument, ast.Constant):
                yield node.lineno, str(argument.value)


def imported_from(node: ast.ImportFrom, relative: Path) -> str:
    if node.level == 0:
        return node.module or ""
    package = relative.parent.parts
    parent = package[: len(package) - node.level + 1]
    return ".".join([*parent, *([node.module] if node.module else [])])


def module_name(relative: Path) -> str:
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The room that a module is in: the innermost one that has a place in LAYERS."""
    parts = name.split(".")
    if parts[0] in ("jobs", "rerank_pipeline"):
        return parts[0]
    inner = ".".join(parts[:3])
    return inner if inner in LEVEL else ".".join(parts[:2])


def test_imports_point_down_only() -> None:
    assert (ROOT / "pipeline" / "errors.py").is_file()
    found = violations(ROOT)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("pipeline/errors.py", "from pipeline.schema import SCORE"),
        ("pipeline/schema.py", "import pipeline.storage.store"),
        ("pipeline/config/job.py", "from pipeline.storage import store"),
        ("pipeline/config/reading/loading.py", "from pipeline.config import Settings"),
        ("pipeline/storage/store.py", "from pipeline import candidates"),
        ("pipeline/storage/store.py", "from ..candidates.lists import CandidateLists"),
        ("pipeline/storage/store.py", "from pipeline.cluster import access"),
        ("pipeline/storage/store.py", "from pipeline.storage.parquet import read_rows"),
        ("pipeline/storage/store.py", "from .parquet.footer import parse_footer"),
        ("pipeline/storage/parquet/files.py", "import fsspec"),
        (
            "pipeline/cluster/job_server.py",
            "from pipeline.execution.runs.run_folder import RunFolder",
        ),
        ("pipeline/candidates/lists.py", "from pipeline.ranking import ties"),
        ("pipeline/candidates/lists.py", "def late():\n    import torch.nn"),
        ("pipeline/candidates/lists.py", "from pipeline import load"),
        ("pipeline/networks/linears/int8.py", "from pipeline.networks.loading import load"),
        ("pipeline/networks/attention/flat.py", "from pipeline.networks import packed"),
        ("pipeline/rerankers/lexical.py", "from pipeline.engine import loop"),
        ("pipeline/outputs/trec.py", "import fsspec"),
        ("pipeline/outputs/trec.py", "from pyarrow import fs"),
        ("pipeline/outputs/trec.py", "import pyarrow.fs"),
        ("pipeline/outputs/trec.py", "from s3fs.core import S3FileSystem"),
        ("pipeline/engine/loop.py", "import ray"),
        ("pipeline/execution/run.py", "import ray"),
        ("pipeline/execution/run.py", "def late():\n    from ray import data"),
        ("pipeline/cluster/access.py", "import importlib\nimportlib.import_module('ray.data')"),
        ("jobs/rerank.py", "import ray"),
        ("pipeline/distillation/sets/exports.py", "from pipeline.distillation import mine"),
        ("pipeline/execution/graph.py", "from torch import nn"),
        ("pipeline/execution/graph.py", "from pipeline.api import load"),
        ("pipeline/execution/graph.py", "from jobs import rerank"),
        ("pipeline/api.py", "import importlib\nimportlib.import_module('pipeline.execution')"),
        ("pipeline/cli.py", "if True:\n    from transformers import AutoTokenizer"),
        ("jobs/rerank.py", "from pipeline.cli import main"),
        ("jobs/bench.py", "def late():\n    from benchmarks.harness import preparing"),
        ("pipeline/bench/run.py", "from benchmarks.peers import PEERS"),
        ("pipeline/bench/engines.py", "from sentence_transformers import CrossEncoder"),
        ("pipeline/bench/inputs/texts.py", "import tests.makers"),
        ("pipeline/bench/models/shapes.py", "from pipeline.bench.run import bench"),
        ("pipeline/__init__.py", "import torch"),
        ("pipeline/attic/old.py", ""),
        ("pipeline/cli.py", "from rerank_pipeline.__main__ import main"),
        ("rerank_pipeline/names.py", "import torch"),
    ],
)
def test_a_violation_is_caught(tmp_path: Path, path: str, code: str) -> None:
    write(tmp_path, path, code)
    found = violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(path)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("pipeline/errors.py", "from enum import IntEnum"),
        ("pipeline/storage/store.py", "import fsspec\nfrom pipeline.errors import NotFoundError"),
        ("pipeline/storage/store.py", "from pipeline.storage.files import Entry"),
        ("pipeline/storage/store.py", "from .files import Entry"),
        ("pipeline/storage/parquet/files.py", "from pipeline.storage.store import open_input"),
        ("pipeline/storage/policy.py", "from pipeline.config import StorageConfig"),
        ("pipeline/candidates/lists.py", "from pipeline import schema\nimport pyarrow.parquet"),
        ("pipeline/engine/loop.py", "import torch\nfrom pipeline.rerankers import weights"),
        ("pipeline/execution/graph.py", "import ray.data\nfrom pipeline import engine"),
        ("pipeline/reports/page.py", "from pipeline import __version__"),
        ("pipeline/cli.py", "def run():\n    from jobs import rerank"),
        ("pipeline/demo/__init__.py", "from pipeline import load"),
        ("pipeline/__init__.py", "from pipeline.api import load"),
        ("rerank_pipeline/__main__.py", "def main():\n    from pipeline.cli import main"),
        ("jobs/rerank.py", "from rerank_pipeline.names import run_module"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, path: str, code: str) -> None:
    write(tmp_path, path, code)
    assert violations(tmp_path) == []


MODULES = [(library, name) for library, names in OWNERS.items() for name in names]


@pytest.mark.parametrize(("library", "module"), [pair for pair in MODULES if pair[1] not in LEVEL])
def test_a_module_that_is_named_imports_its_library(library: str, module: str) -> None:
    relative = Path(*module.split(".")).with_suffix(".py")
    tree = ast.parse((ROOT / relative).read_text(encoding="utf-8"))
    assert any(is_of(library, name) for _, name in imports(tree, relative))


def write(root: Path, path: str, code: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True)
    target.write_text(code + "\n", encoding="utf-8")
