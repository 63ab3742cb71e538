"""A flipped bit or a cut in any file of a run's folder shows, whoever reads it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.main import get_command

from pipeline import failpoints
from pipeline.cli import app
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs import attempts
from pipeline.execution.runs.holder import NAME, Holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.verification import audit
from tests.execution.drivers import lexical_job
from tests.execution.oracle import files_below, kept
from tests.makers import long_table, write

pytestmark = pytest.mark.usefixtures("believed_store")

CLI = get_command(app)

#: Each file is damaged so often in each state; all files of all states together over 400 times.
TIMES = 10

STATES = ("published", "pointed", "half")

QRELS = "".join(f"q{q:03d} 0 d{d} {d % 2}\n" for q in range(16) for d in range(3))


def bad_rows(table: pa.Table) -> pa.Table:
    """The table with a candidate without a text here and there."""
    texts = [None if i % 13 == 3 else text for i, text in enumerate(table["text"].to_pylist())]
    return table.set_column(3, "text", pa.array(texts, pa.string()))


TABLE = bad_rows(long_table(queries=16))


@dataclass(frozen=True)
class Runs:
    """One run as it was left in each of :data:`STATES`, by the state's name."""

    root: Path
    source: Path

    def output(self, state: str) -> Path:
        return self.root / state

    def settings(self, output: Path) -> list[str]:
        job = lexical_job(self.source, str(output), lease={"ttl_s": 0.05})
        return [
            f"{section}.{key}={value}"
            for section, keys in job.items()
            for key, value in keys.items()
        ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    source = write(root / "in.parquet", TABLE, row_group_size=20)
    (root / "qrels.txt").write_text(QRELS)
    made = Runs(root, source)

    def run(state: str, at: str = "") -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(failpoints.VARIABLE, at)
            failpoints._hits.clear()
            job = lexical_job(source, str(made.output(state)), lease={"ttl_s": 0.05})
            execute(prepare(JobConfig.model_validate(job)))
        return folder_in(made.output(state))

    run("published")
    shutil.copytree(made.output("published"), made.output("pointed"))
    (folder_in(made.output("pointed")) / "_SUCCESS").unlink()
    with pytest.raises(failpoints.FailpointError):
        run("half", at="unit.written:2=raise")
    for state in ("pointed", "half"):  # as a driver that was killed leaves it
        folder = str(folder_in(made.output(state)))
        unit = RunFolder(folder).plan().units[-1].name
        attempts._mark(folder, unit, "score", alone=True)
        holder = Holder(
            run_id=Path(folder).name, epoch=1, owner="x", host="h", pid=1, ttl_s=0.05
        )  # fmt: skip
        Path(folder, NAME).write_bytes(holder.to_bytes())
    files = sum(len(files_below(str(made.output(state)))) for state in STATES)
    assert files * TIMES > 400
    return made


def folder_in(output: Path) -> Path:
    [folder] = [path for path in output.iterdir() if path.is_dir()]
    return folder


def command(*words: object) -> tuple[int, str]:
    """Exit code and output; an exception that is no sentence of ours fails the test."""
    text = StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        code = CLI.main([str(word) for word in words], "rerank", standalone_mode=False)
    return code or 0, text.getvalue()


def with_settings(words: list[str], settings: list[str]) -> list[str]:
    return words + [word for setting in settings for word in ("--set", setting)]


def status(runs: Runs, output: Path) -> object:
    code, text = command("status", output, "--json")
    if code not in (0, 4) or not text.startswith("{"):
        return code, text
    state = json.loads(text)
    state["lease"].pop("age_s")
    named = json.dumps(state.pop("problems"))
    return (code, named) if code else (0, json.dumps(state).replace(str(output), ""))


def shown(*words: str) -> Callable[[Runs, Path], object]:
    def reader(runs: Runs, output: Path) -> object:
        code, text = command(words[0], output, *words[1:])
        return code, text.replace(str(output), "")

    return reader


def evaluate(runs: Runs, output: Path) -> object:
    code, text = command("evaluate", output, "--qrels", runs.root / "qrels.txt", "--json")
    return code, text[text.index("{") :] if code == 0 else text.replace(str(output), "")


def distill(runs: Runs, output: Path) -> object:
    settings = [f"teachers={output}", f"output.path={output}/../sets"]
    code, text = command(*with_settings(["distill", "--dry-run"], settings))
    return code, text.replace(str(output), "")


def session(*words: str) -> Callable[[Runs, Path], object]:
    """A command that finishes the run: what it leaves is its result."""

    def reader(runs: Runs, output: Path) -> object:
        if words[0] == "run":
            code, text = command(*with_settings(["run"], runs.settings(output)))
        else:
            code, text = command(words[0], output)
        if code:
            return code, text
        assert audit(RunFolder(str(folder_in(output)))) == []
        return 0, kept(files_below(str(output)))

    return reader


READERS: dict[str, Callable[[Runs, Path], object]] = {
    "status": status,
    "evaluate": evaluate,
    "distill": distill,
    "gc": shown("gc"),
    "run": session("run"),
    "resume": session("resume"),
}


def damages(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """Bits flipped anywhere, and cuts, without end."""
    while True:
        flipped = bytearray(data)
        bit = chance.randrange(8 * len(data))
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)
        yield data[: chance.randrange(len(data))]
        near_end = bytearray(data)
        near_end[-chance.randint(1, min(len(data), 700))] ^= 1 << chance.randrange(8)
        yield bytes(near_end)


@pytest.mark.parametrize("state", STATES)
def test_no_damage_goes_unnoticed(runs: Runs, tmp_path: Path, state: str) -> None:
    expected: dict[str, Any] = {}
    for name, reader in READERS.items():
        output = tmp_path / f"whole-{name}"
        shutil.copytree(runs.output(state), output)
        expected[name] = reader(runs, output)
    chance, readers = random.Random(STATES.index(state)), cycle(READERS)
    names = sorted(files_below(str(runs.output(state))))
    assert {Path(name).name for name in names} >= {"run.json", "plan.parquet", "lease.json"}
    output = tmp_path / "out"
    shutil.copytree(runs.output(state), output)
    tried = 0
    for name in names:
        data = (output / name).read_bytes()
        for _, damaged in zip(range(TIMES), damages(chance, data), strict=False):
            (output / name).write_bytes(damaged)
            found = audit(RunFolder(str(folder_in(output))))
            assert [p for p in found if p.path == f"{output}/{name}"], name
            who = next(readers)
            result = READERS[who](runs, output)
            if result != expected[who]:
                code, text = result  # type: ignore[misc]
                assert code == 4, (name, who, text)
                assert Path(name).name in text, (name, who, text)
            if who in ("run", "resume"):
                shutil.rmtree(output)
                shutil.copytree(runs.output(state), output)
            else:
                (output / name).write_bytes(data)
            tried += 1
    assert tried == TIMES * len(names)
