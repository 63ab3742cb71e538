"""`rerank status`, `resume` and `gc` on runs that were interrupted, and what each refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import ExitCode
from tests.execution.drivers import KILLED, ROOT, Drivers, lexical_job
from tests.fixtures_s3 import BUCKET, s3_client
from tests.makers import long_table, write
from tests.support.s3_server import S3Server

TABLE = long_table(queries=16)


def rerank(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Drivers]:
    started = Drivers(tmp_path)
    yield started
    started.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "in.parquet", TABLE, row_group_size=20)


def folder_of(output: Path) -> Path:
    [folder] = [place for place in output.iterdir() if place.is_dir()]
    return folder


def test_status_tells_who_drives_and_resume_goes_on(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    driver = drivers.start(lexical_job(path, str(output)), at="unit.scored:3=pause")
    driver.wait_until_stopped()
    state = json.loads(rerank("status", output, "--json").stdout)
    assert not state["finished"]
    assert (state["units_committed"], state["units_in_flight"], state["units_failed"]) == (2, 1, 0)
    assert state["lease"]["holder"].endswith(f"process {driver.process.pid} (epoch 1)")
    shown = rerank("status", output).stdout
    assert f"process {driver.process.pid} (epoch 1), held, renewed" in shown
    driver.send(signal.SIGKILL)
    assert driver.wait() == KILLED
    resumed = rerank("resume", output, "--set", "replicas.num_cpus=2")
    assert resumed.returncode == 0, resumed.stderr
    after = json.loads(rerank("status", output, "--json").stdout)
    assert after["finished"]
    assert after["units_in_flight"] == 0
    assert after["lease"]["state"] == "released"
    assert after["report"]["units_done_before"] == 2
    text = rerank("status", output).stdout
    for heading in ("session", "CPU seconds", "driver"):
        assert f"\n{heading}" in text
    again = rerank("resume", output)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


def test_resume_refuses_what_would_change_scores_and_names_it(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert drivers.run(lexical_job(path, str(output)), at="unit.written:1=crash") == KILLED
    other = rerank("resume", output, "--set", "input.text_separator=+")
    assert other.returncode == 2
    assert "different now: config.input" in other.stderr
    write(path, TABLE.slice(0, TABLE.num_rows - 1), row_group_size=20)
    changed = rerank("resume", output)
    assert changed.returncode == 3
    assert f"{path}: has changed since this run was planned" in changed.stderr
    path.rename(tmp_path / "other.parquet")
    assert rerank("resume", output).returncode == 4


def test_several_runs_are_told_apart(drivers: Drivers, path: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    one = lexical_job(path, str(output))
    two = lexical_job(path, str(output), units={"documents": 60})
    assert drivers.run(one, at="unit.written:1=crash") == KILLED
    assert drivers.run(two, at="unit.written:1=crash") == KILLED
    unclear = rerank("resume", output)
    assert unclear.returncode == 4
    assert "holds 2 runs" in unclear.stderr
    assert drivers.run(two) == 0
    latest = json.loads((output / "LATEST.json").read_text())["run_id"]
    assert json.loads(rerank("status", output, "--json").stdout)["run_id"] == latest
    [unfinished] = [p for p in output.iterdir() if p.is_dir() and p.name != latest]
    assert rerank("resume", unfinished).returncode == 0


def test_gc_lists_then_removes_what_the_dead_left(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert drivers.run(lexical_job(path, str(output)), at="unit.begun:2=crash") == KILLED
    folder = folder_of(output)
    (folder / "ranked").mkdir(exist_ok=True)
    old, young = (folder / "ranked" / f".unit-x.parquet.{n}.tmp" for n in ("a" * 32, "b" * 32))
    for place in (old, young):
        place.write_bytes(b"half of a fi")
    long_ago = time.time() - 48 * 3600
    os.utime(old, (long_ago, long_ago))
    others = tmp_path / "elsewhere" / ".y.tmp"
    others.parent.mkdir()
    others.write_bytes(b"not ours")
    held = rerank("gc", output)
    assert held.returncode == 0, held.stderr
    assert str(old) in held.stdout
    assert "attempt" not in held.stdout, "the lease is still held: its driver may live"
    assert drivers.run(lexical_job(path, str(output))) == 0
    mark = folder / "attempts" / "0123.score-1.json"
    mark.write_text("{}")
    files = {p for p in output.rglob("*") if p.is_file()}
    listed = rerank("gc", folder)
    assert str(mark) in listed.stdout
    assert {p for p in output.rglob("*") if p.is_file()} == files, "listing removes nothing"
    removed = rerank("gc", output, "--delete")
    assert "removed 2" in removed.stdout
    assert files - {p for p in output.rglob("*") if p.is_file()} == {old, mark}
    assert others.exists()
    assert pq.ParquetDataset(folder / "ranked").read().num_rows == TABLE.num_rows
    assert "nothing to remove" in rerank("gc", output).stdout


@pytest.mark.parametrize(
    "words", [["gc"], ["status"], ["resume"], ["export", "--format", "tevatron"]]
)
@pytest.mark.parametrize("kind", ["nothing", "file", "loop", "long", "user"])
def test_a_path_without_a_folder_is_named(tmp_path: Path, words: list[str], kind: str) -> None:
    path = str(tmp_path / ("x" * 300 if kind == "long" else kind))
    if kind == "file":
        Path(path).write_text("")
    if kind == "loop":
        Path(path).symlink_to(path)
    if kind == "user":
        path = "~nobody-of-this-name/x"
    done = CliRunner().invoke(app, [*words, path])
    assert done.exit_code == ExitCode.MISSING, done.stderr
    assert path in done.stderr
    assert "unexpected" not in done.stderr


def test_gc_aborts_uploads_in_its_own_folder_only(s3_server: S3Server, s3_folder: str) -> None:
    client = s3_client(s3_server)
    prefix = s3_folder.removeprefix(f"s3://{BUCKET}/")
    for key in (f"{prefix}/run/ranked/x", f"{prefix}-neighbour/x"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    young = rerank("gc", s3_folder)
    assert "nothing to remove" in young.stdout, young.stderr
    done = rerank("gc", s3_folder, "--older-than", 0, "--delete")
    assert "removed 1" in done.stdout, done.stderr
    uploads = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    keys = [upload["Key"] for upload in uploads if upload["Key"].startswith(prefix)]
    assert keys == [f"{prefix}-neighbour/x"]


def test_status_and_gc_need_neither_torch_nor_ray(
    drivers: Drivers, path: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert drivers.run(lexical_job(path, str(output)), at="unit.written:1=crash") == KILLED
    program = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app\n"
        f"for words in (['status', {str(output)!r}], ['gc', {str(output)!r}]):\n"
        "    r = CliRunner().invoke(app, words)\n"
        "    assert r.exit_code == 0, r.output\n"
        "heavy = {'torch', 'ray', 'transformers', 's3fs', 'botocore'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "jobs = {name for name in sys.modules if name.startswith('jobs.')}\n"
        "others = jobs - {'jobs.command', 'jobs.ending', 'jobs.views', 'jobs.gc'}\n"
        "assert not others, others"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_damaged_status_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "x.parquet", pa.table({"a": [1]}))
    done = rerank("status", tmp_path / "run")
    assert done.returncode == 4
    assert "no run here" in done.stderr


def test_a_run_is_read_back_and_repaired(tmp_path: Path, path: Path) -> None:
    """`status --check`, `evaluate` and `run` name what is not whole; `--repair` makes it anew."""
    output, qrels = tmp_path / "out", tmp_path / "qrels.txt"
    qrels.write_text("q000 0 d0 1\n")
    settings = [
        f"input.path={path}", f"output.path={output}", "model.name=lexical",
        "ray.mode=in_process", "units.documents=25", "lease.ttl_s=0.5", "report.page=false",
    ]  # fmt: skip
    run = ["run", *(word for setting in settings for word in ("--set", setting))]
    runner = CliRunner()

    def rerank_here(*words: object) -> tuple[int, str]:
        done = runner.invoke(app, [str(word) for word in words])
        return done.exit_code, done.output

    assert rerank_here(*run)[0] == 0
    code, text = rerank_here("status", output, "--check")
    assert (code, "published; every file that is there is as it was written" in text) == (0, True)
    folder = folder_of(output)
    first, second = sorted((folder / "ranked").iterdir())[:2]
    whole = first.read_bytes()
    flipped = bytearray(whole)
    flipped[80] ^= 1
    first.write_bytes(flipped)
    code, text = rerank_here("status", output)
    assert (code, "damaged" in text) == (0, False), "a listing cannot see it"
    second.unlink()
    code, text = rerank_here("status", output, "--check", "--json")
    problems = json.loads(text)["problems"]
    assert {(p["kind"], p["path"]) for p in problems} == {
        ("damaged", str(first)), ("missing", str(second)),
    }  # fmt: skip
    for words in (["status", output, "--check"], run, ["resume", output]):
        code, text = rerank_here(*words)
        assert code == 4
        assert f"{first}: its content does not fit its seal" in text
        assert f"{second}: missing" in text
        assert "rerank run --repair" in text
    code, text = rerank_here("status", output)
    assert (code, f"{second}: missing" in text) == (4, True)
    code, text = rerank_here("evaluate", output, "--qrels", qrels)
    assert code == 4
    assert "not as it was written" in text
    code, text = rerank_here("resume", output, "--repair")
    assert (code, "repaired   2 units scored again" in text) == (0, True)
    assert first.read_bytes() == whole
    assert rerank_here("status", output, "--check")[0] == 0
    assert rerank_here("evaluate", output, "--qrels", qrels)[0] == 0
    assert "nothing to do" in rerank_here(*run, "--repair")[1]
    folder.rename(output / "mine")
    assert rerank_here("evaluate", output / "mine", "--qrels", qrels)[0] == 0
    code, text = rerank_here("resume", output / "mine")
    assert (code, f"rename it back to {folder.name}" in text) == (2, True)
