"""A configuration never imports a module without a word of the user's for exactly that module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.api import load
from pipeline.checkpoints import cards
from pipeline.checkpoints.locating import locate
from pipeline.cli import app
from pipeline.config import JobConfig
from pipeline.engine.families import allowed_code, find, module_of, names
from pipeline.errors import ConfigurationError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]

#: A family that notes in which processes it was imported.
FAMILY = """
import os, pathlib
from multiprocessing import parent_process
pathlib.Path(__file__).with_name(f"imported-{os.getpid()}").touch()
import numpy as np
from pipeline.rerankers.base import Reranker
from pipeline.sequences.sequences import Sequences

class Lengths(Reranker):
    score_scale = "logit"
    def encode(self, lists):
        texts = lists.documents.column("text").to_pylist()
        if any("crash" in text for text in texts) and parent_process() is None:
            raise ValueError("only a child of its own scores this")
        lengths = np.array([len(text) for text in texts])
        return Sequences.one_readout_each(lengths.astype(np.int32), np.arange(len(lengths) + 1))
    def forward(self, batch):
        import torch
        return torch.from_numpy(batch.token_ids.astype(np.float32)[:, None])
    def decode(self, lists, sequences, readouts):
        return readouts[:, 0]
"""

NOT_NAMES = [
    "../x", "x/../y", "a..b", "", ".x", "x.", ".", "..", "a b", "a. b", " os", "mödul.x", "a.ß",
    "a-b.c", "1a.b", "a\n.b", "a.b;c", "/etc/passwd", "os.path\0", "C:\\x.y", "file:///x.py",
]  # fmt: skip


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with a package of somebody's in it: ``theirs.lengths``."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/lengths.py").write_text(FAMILY)
    (tmp_path / "theirs/__init__.py").write_text(
        "import pathlib; pathlib.Path(__file__).with_name('imported-package').touch()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("theirs", "theirs.lengths"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "theirs"


def imported(module: Path) -> int:
    return len(list(module.glob("imported-*")))


def job_of(folder: Path, **sections: Any) -> dict[str, Any]:
    source = write(folder / "in.parquet", long_table(4, 3))
    return {
        "model": {"family": "theirs.lengths"},
        "input": {"path": str(source)},
        "output": {"path": str(folder / "out")},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    } | sections


@pytest.mark.parametrize("name", NOT_NAMES)
def test_what_is_no_name_of_a_module_is_refused_in_a_sentence(name: str) -> None:
    for allowed in ((), (name,)):
        with pytest.raises(ConfigurationError, match=r"model\.family: '(?s:.*)' is neither one of"):
            find(name, allow_code=allowed)
    if name:
        with pytest.raises(ConfigurationError, match=r"--allow-code: '(?s:.*)' is no name"):
            allowed_code([name.replace(" os", "o s")], {})


@pytest.mark.parametrize("name", ["../../x", "..", "a.b", "/etc/passwd", "x\0", "bge reranker"])
def test_a_card_is_one_of_those_that_are_known(name: str) -> None:
    assert cards.known(name) is None
    with pytest.raises(ConfigurationError, match=r"model\.name: no model card"):
        cards.read(name)


@pytest.mark.parametrize("name", ["theirs.lengths", "os.path", "theirs", "pipeline.api"])
def test_without_a_word_for_it_a_module_is_not_imported(name: str, module: Path) -> None:
    for allowed in ((), ("theirs",), ("theirs.length",), ("theirs.lengths.more",), ("THEIRS",)):
        with pytest.raises(ConfigurationError, match=name):
            find(name, allow_code=allowed)
    assert imported(module) == 0


def test_a_module_is_imported_when_it_is_allowed(module: Path) -> None:
    assert find("theirs.lengths", allow_code={"theirs.lengths"}).__name__ == "Lengths"
    with pytest.raises(ConfigurationError, match="defines 0 rerankers"):
        find("os.path", allow_code={"os.path"})
    (module / "broken.py").write_text("raise RuntimeError('not today')")
    with pytest.raises(ConfigurationError, match="RuntimeError: not today"):
        find("theirs.broken", allow_code={"theirs.broken"})


def test_families_of_the_product_need_no_word() -> None:
    for name in names():
        assert module_of(f"pipeline.rerankers.{name}") == module_of(name)
    for name in ("pipeline.rerankers.base", "pipeline.checkpoints.cards"):
        with pytest.raises(ConfigurationError, match="--allow-code"):
            module_of(name)


def test_the_word_comes_from_options_and_environment() -> None:
    environment = {"RERANK_ALLOW_CODE": "a.b, c,"}
    assert allowed_code(["d.e"], environment) == {"a.b", "c", "d.e"}
    assert allowed_code([], {}) == frozenset()
    with pytest.raises(ConfigurationError, match=r"RERANK_ALLOW_CODE: '\.\./x'"):
        allowed_code([], {"RERANK_ALLOW_CODE": "../x"})


@pytest.mark.parametrize("command", ["run", "dry-run", "plan", "print-config"])
def test_commands_ask_for_the_word(command: str, module: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(json.dumps(job_of(tmp_path)))
    words = ["plan" if command == "plan" else "run", "-c", "job.yaml"]
    words += [f"--{command}"] if "-" in command else []
    done = CliRunner().invoke(app, words)
    if command == "print-config":
        assert done.exit_code == 0
    else:
        assert done.exit_code == 2
        assert "add --allow-code theirs.lengths to the command" in done.output
        for how in (["--set", "allow_code=theirs.lengths"],
                    ["--set", "model.allow_code=theirs.lengths"]):  # fmt: skip
            assert CliRunner().invoke(app, [*words, *how]).exit_code == 2
    assert imported(module) == 0


def test_no_word_is_kept_in_a_run(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a run, from anybody, names a module; looking at it imports nothing."""
    (tmp_path / "job.yaml").write_text(json.dumps(job_of(tmp_path)))
    word = ["--allow-code", "theirs.lengths"]
    done = CliRunner().invoke(app, ["run", "-c", "job.yaml", *word])
    assert done.exit_code == 0, done.output
    [folder] = (tmp_path / "out").glob("*/run.json")
    assert "allow_code" not in folder.read_text()
    for mark in module.glob("imported-*"):
        mark.unlink()
    for name in ("theirs", "theirs.lengths"):
        sys.modules.pop(name, None)
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq000\td0\t1\n")
    for words in (["status", "out"], ["gc", "out"], ["evaluate", "out", "--qrels", "qrels.tsv"]):
        assert CliRunner().invoke(app, words).exit_code == 0, words
    done = CliRunner().invoke(app, ["resume", "out"])
    assert done.exit_code == 2
    assert "--allow-code theirs.lengths" in done.output
    assert imported(module) == 0
    assert CliRunner().invoke(app, ["resume", "out", *word]).exit_code == 0
    monkeypatch.setenv("RERANK_ALLOW_CODE", "theirs.lengths")
    assert CliRunner().invoke(app, ["resume", "out"]).exit_code == 0
    assert imported(module) > 0


def test_the_word_reaches_workers_and_isolated_children(tmp_path: Path, module: Path) -> None:
    """Encoders and replicas on Ray, and the child that a unit gets of its own."""
    table = long_table(4, 3)
    texts = ["crash" if i == 0 else t for i, t in enumerate(table["text"].to_pylist())]
    place = table.column_names.index("text")
    for mode in ("in_process", "cluster"):
        folder = tmp_path / mode
        rows = table if mode == "cluster" else table.set_column(place, "text", [texts])
        job = job_of(tmp_path) | {
            "input": {"path": str(write(folder / "in.parquet", rows))},
            "output": {"path": str(folder / "out")},
            "ray": {"mode": mode},
            "report": {"page": False},
            "replicas": {"min": 1, "num_gpus": 0, "num_cpus": 0.5},
        }
        (tmp_path / "job.yaml").write_text(json.dumps(job))
        done = subprocess.run(
            [sys.executable, "-m", "jobs.rerank", "-c", "job.yaml",
             "--allow-code", "theirs.lengths"],
            cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        ranked = pq.ParquetDataset(next((folder / "out").glob("*/ranked"))).read()
        assert sorted(ranked["score"].to_pylist()) == sorted(
            len(text) for text in rows["text"].to_pylist()
        )


def test_naming_a_family_in_python_is_the_callers_own_word(module: Path) -> None:
    ranker = load("", family="theirs.lengths", device="cpu")
    assert ranker.score("q", ["a", "abc"]).tolist() == [1.0, 3.0]
    config = JobConfig.model_validate(job_of(module.parent))
    with pytest.raises(ConfigurationError, match="--allow-code"):
        prepare(config)
    assert execute(prepare(config, allow_code=frozenset({"theirs.lengths"}))).units_run == 1


@pytest.mark.parametrize(
    "name", ["theirs.sub", "theirs.lengths", "a..b", ".x", "", "../x", "x y", "theirs/../..", "ß"]
)
def test_weights_in_a_package_are_found_without_importing_it(name: str, module: Path) -> None:
    (module / "sub").mkdir()
    (module / "sub/__init__.py").write_text("import theirs.lengths")
    (module / "sub/config.json").write_text("{}")
    if name == "theirs/../..":
        name = "theirs"
        assert locate("package:theirs/sub").folder == module / "sub"
    else:
        with pytest.raises(ConfigurationError, match="is no name of an installed package"):
            locate(f"package:{name}")
    assert imported(module) == 0
