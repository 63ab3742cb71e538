"""``rerank submit`` and Ray's own ``ray job submit`` against a cluster of ``ray start --head``."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cluster.job_server import JobEnd
from pipeline.errors import DamagedRunError, RunFailedError
from pipeline.execution.runs import records
from pipeline.execution.runs.checked_units import CheckedUnits, manifest_of
from pipeline.execution.runs.publication import check_published
from pipeline.refresh.publications.reading import current
from tests.execution.cluster.head import ALLOW, PYTHON, RAY, ROOT, Head, started_head
from tests.execution.cluster.processes import wait_for
from tests.makers import long_table, write

#: Runs its arguments as a command that SIGINT interrupts; whether it is ignored is inherited.
_HEARING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)

RERANK = [PYTHON, "-c", "from pipeline.cli import main; main()"]

#: The script that pip writes for a command; child processes run it as well, as no command.
_CONSOLE = """\
import sys
from rerank_pipeline.__main__ import main
if __name__ == "__main__":
    sys.exit(main())
"""

#: For a job of which only the sending, the watching and the end are asked: its own replicas on Ray
#: would cost half a minute of a CPU, and the jobs that are published, interrupted and resumed have
#: them.
WITHOUT_REPLICAS = ("--set", "ray.mode=in_process")

Published = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with started_head() as head:
        yield head


def rerank(head: Head, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The ``rerank`` command as somebody with the token would call it."""
    return subprocess.run(
        [*RERANK, *words],
        cwd=ROOT, env=head.environment | more, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def details(head: Head, job: str) -> dict[str, Any]:
    """What Ray says about a job."""
    return head.get(f"/api/jobs/{job}")


def job_file(folder: Path, *, pace: float = 0.0) -> Path:
    """A job over 30 lists in about a dozen units, at ``pace`` seconds per token."""
    source = write(folder / "in.parquet", long_table(30), row_group_size=5)
    (folder / "pace").write_text(str(pace))
    model = {"family": "benchmarks.fixed_cost", "settings": {"pace": str(folder / "pace")}}
    job = {
        "model": model,
        "input": {"path": str(source)},
        "output": {"path": str(folder / "out")},
        "units": {"documents": 10},
        "replicas": {"min": 1, "num_gpus": 0, "num_cpus": 0.5},
        "ray": {"read_cpus": 0.5},
        "report": {"page": False},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def unit_files(output: Path) -> dict[str, bytes]:
    """Every unit file of the only run below ``output``."""
    return {path.name: path.read_bytes() for path in output.glob("*/ranked/*.parquet")}


def job_of(output: str) -> str:
    [name] = re.findall(r"^job {8}(\S+)$", output, re.M)
    return name


@pytest.fixture(scope="module")
def published(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A job that nothing happened to."""
    file = job_file(tmp_path_factory.mktemp("published"))
    words = ("submit", "-c", str(file), *ALLOW, "--address", head.url, "--python", PYTHON)
    return file, rerank(head, *words)


def test_a_job_that_publishes_returns_0_and_again_finds_itself_finished(
    head: Head, published: Published
) -> None:
    file, done = published
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = (place for place in (file.parent / "out").iterdir() if place.is_dir())
    assert f"published  {folder}" in done.stdout
    assert (folder / "_SUCCESS").exists()
    assert details(head, job_of(done.stdout))["status"] == "SUCCEEDED"
    # Ray's own command runs the same job; it finds it finished.
    job = [PYTHON, "-m", "jobs.rerank", "-c", str(file), *ALLOW]
    by_hand = subprocess.run(
        [RAY, "job", "submit", "--address", head.url, "--", *job],
        env=head.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stdout + by_hand.stderr
    assert "finished   before; nothing to do" in by_hand.stdout


def test_a_refresh_is_sent_as_one_and_publishes_its_night(head: Head, tmp_path: Path) -> None:
    file = job_file(tmp_path)
    job = yaml.safe_load(file.read_text(encoding="utf-8")) | {"refresh": {}}
    job["input"]["path"] = str(tmp_path / "{date}.parquet")
    (tmp_path / "in.parquet").rename(tmp_path / "2026-01-31.parquet")
    file.write_text(yaml.safe_dump(job), encoding="utf-8")
    words = ("submit", "-c", str(file), *ALLOW, "--address", head.url, "--python", PYTHON)
    done = rerank(head, *words, *WITHOUT_REPLICAS, "--date", "2026-01-31")
    assert done.returncode == 0, done.stdout + done.stderr
    serving = current(str(tmp_path / "out"))
    assert serving is not None
    assert (serving.sequence, str(serving.date)) == (1, "2026-01-31")
    assert f"published  {tmp_path / 'out' / serving.run_id}" in done.stdout


def test_a_job_that_fails_returns_its_own_code(head: Head, tmp_path: Path) -> None:
    file = job_file(tmp_path)
    (tmp_path / "in.parquet").unlink()
    words = ("submit", "-c", str(file), *ALLOW, "--address", head.url, "--python", PYTHON)
    done = rerank(head, *words)
    assert done.returncode == 4, done.stdout + done.stderr
    ended = details(head, job_of(done.stdout))
    assert (ended["status"], ended["driver_exit_code"]) == ("FAILED", 4)


def test_a_job_that_ends_well_without_a_run_is_no_success(head: Head, tmp_path: Path) -> None:
    file = job_file(tmp_path)
    done = rerank(
        head, "submit", "-c", str(file), *ALLOW, "--address", head.url, "--python", "/bin/true"
    )
    assert details(head, job_of(done.stdout))["status"] == "SUCCEEDED"
    assert done.returncode == 5
    assert "never named a run" in done.stderr


def interruptible(words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """A client that hears SIGINT, though the parent of these tests may ignore it (nohup)."""
    return subprocess.Popen(
        [PYTHON, "-c", _HEARING, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_interrupted_stopped_and_submitted_again_it_goes_on(
    head: Head, published: Published, tmp_path: Path
) -> None:
    file, _ = published
    pace = file.parent / "pace"
    words = [
        *RERANK, "submit", "-c", str(file), *ALLOW, "--set", f"output.path={tmp_path}",
        "--address", head.url, "--python", PYTHON,
    ]  # fmt: skip
    pace.write_text("0.05")
    with interruptible(words, head.environment) as client:
        wait_for(lambda: len(unit_files(tmp_path)) >= 2, "two committed units")
        client.send_signal(signal.SIGINT)
        output, _ = client.communicate(timeout=120)
    assert client.returncode == 130, output
    job = job_of(output)
    assert f"stopping   {job}" in output
    assert details(head, job)["status"] == "STOPPED"
    committed = unit_files(tmp_path)
    assert not list(tmp_path.glob("*/_SUCCESS"))
    pace.write_text("0")
    resumed = rerank(head, *words[len(RERANK) :])
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert len(committed) < len(unit_files(tmp_path))
    assert unit_files(tmp_path) == unit_files(file.parent / "out")


def test_a_second_interrupt_leaves_the_job_running(head: Head, tmp_path: Path) -> None:
    file = job_file(tmp_path, pace=0.02)
    words = [
        *RERANK, "submit", "-c", str(file), *ALLOW, *WITHOUT_REPLICAS, "--address", head.url,
        "--python", PYTHON,
    ]  # fmt: skip
    with interruptible(words, head.environment) as client:
        assert client.stdout is not None
        lines = iter(client.stdout.readline, "")
        job = next(line for line in lines if line.startswith("job ")).split()[1]
        next(line for line in lines if line.startswith("run "))
        client.send_signal(signal.SIGINT)
        next(line for line in lines if line.startswith("stopping "))
        client.send_signal(signal.SIGINT)
        assert client.wait(60) == 130
    assert details(head, job)["status"] == "RUNNING"
    environment = head.environment
    stop = [RAY, "job", "stop", "--address", head.url, job]
    assert subprocess.run(stop, env=environment, capture_output=True, timeout=120).returncode == 0
    assert details(head, job)["status"] == "STOPPED"


def test_without_its_token_a_client_gets_nowhere(head: Head, tmp_path: Path) -> None:
    assert head.status_without_token() == 401
    file = job_file(tmp_path)
    words = ("submit", "-c", str(file), *ALLOW, "--address", head.url)
    done = rerank(head, *words, RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2, done.stderr
    assert "refuses this machine's token" in done.stderr


def test_no_wait_only_sends(head: Head, tmp_path: Path) -> None:
    file = job_file(tmp_path)
    words = (
        "submit",
        "-c",
        str(file),
        *ALLOW,
        *WITHOUT_REPLICAS,
        "--address",
        head.url,
        "--python",
        PYTHON,
        "--no-wait",
    )
    done = rerank(head, *words, "--env", "HF_HUB_OFFLINE=1")
    assert done.returncode == 0, done.stderr
    job = job_of(done.stdout)
    wait_for(lambda: details(head, job)["status"] == "SUCCEEDED", "the end of the job")
    variables = details(head, job)["runtime_env"]["env_vars"]
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["RAY_JOB_STOP_WAIT_TIME_S"] == "60"
    assert not set(variables) & set(head.environment)


def test_a_run_that_is_not_published_is_no_success(tmp_path: Path) -> None:
    folder = tmp_path / ("ab" * 8)
    end = JobEnd(status="SUCCEEDED", exit_code=0, message="", folder=str(folder))
    folder.mkdir()
    with pytest.raises(RunFailedError, match="holds no published run"):
        check_published(end)
    (folder / "_SUCCESS").touch()
    with pytest.raises(RunFailedError, match="holds no published run"):
        check_published(end)
    manifest = manifest_of(
        run_id=folder.name, fingerprint="", model="m", score_scale="logit", units=CheckedUnits()
    )
    (folder / "manifest.json").write_bytes(records.to_bytes(records.Manifest, manifest)[:-1])
    with pytest.raises(DamagedRunError, match=r"manifest\.json: not as it was written"):
        check_published(end)
    (folder / "manifest.json").write_bytes(records.to_bytes(records.Manifest, manifest))
    assert check_published(end).path == str(folder)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--address", "cluster:8265"], "give the job server"),
        (["--address", "http://127.0.0.1:1"], "no job server answers"),
        (["--address", "http://127.0.0.1:1", "--set", "output.path=out"], "'output.path'"),
        (["--address", "http://127.0.0.1:1", "--set", "input.path=in"], "'input.path'"),
        (["--address", "http://127.0.0.1:1", "--working-dir", "docs"], "does not lie in it"),
        (["--address", "http://127.0.0.1:1", "--set", "limt=1"], "did you mean 'limit'"),
    ],
)
def test_what_is_wrong_here_is_said_before_anything_is_sent(
    tmp_path: Path, words: list[str], message: str
) -> None:
    from typer.testing import CliRunner

    from pipeline.cli import app

    result = CliRunner().invoke(app, ["submit", "-c", str(job_file(tmp_path)), *ALLOW, *words])
    assert result.exit_code in (2, 4)
    assert message in result.output


def test_a_family_of_your_own_is_not_sent_without_your_word(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from pipeline.cli import app

    words = ["submit", "-c", str(job_file(tmp_path)), "--address", "http://127.0.0.1:1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "--allow-code benchmarks.fixed_cost" in result.output


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """A folder with packages called like ours, which end whoever imports them, and a job file."""
    for name in ("pipeline", "jobs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} of the folder')")
    (tmp_path / "rerank").write_text(f"#!{PYTHON}\n{_CONSOLE}")
    (tmp_path / "rerank").chmod(0o755)
    job = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(tmp_path / "in.parquet", long_table(6)))},
        "output": {"path": str(tmp_path / "out")},
        "replicas": {"min": 1, "num_cpus": 0.5},
        "ray": {"read_cpus": 0.5},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    return tmp_path


def test_a_folder_with_packages_called_like_ours_shadows_them_nowhere(
    head: Head, own_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Driver, worker process and workers of Ray take ours, whatever the path has in front."""
    environment = head.environment | {"HOME": str(own_folder), "HF_HUB_OFFLINE": "1"}
    before = {"PYTHONPATH": f"{own_folder}{os.pathsep}{ROOT}"}
    console = str(own_folder / "rerank")
    joined = ["--set", f"ray.address={head.address}", "--set", "ray.mode=cluster"]
    sent = ["--address", head.url, "--working-dir", "."]

    def out(name: str) -> list[str]:
        return ["-c", "job.yaml", "--set", f"output.path={own_folder / name}"]

    def done(*words: str, cwd: Path = own_folder, **more: str) -> None:
        ended = subprocess.run(
            words, cwd=cwd, env=environment | more, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    done(PYTHON, "-P", "-m", "jobs.rerank", *out("module"))  # in a worker process, without Ray
    done(PYTHON, "-m", "rerank_pipeline", "run", *out("joined"), *joined)
    done(
        RAY, "job", "submit", *sent, "--", console, "run", *out("ray"), "--set", "ray.mode=cluster"
    )
    quick = ["--set", "ray.mode=in_process", "--python", PYTHON]
    done(console, "submit", *out("sent"), *sent, *quick, **before)
    published = {path.parent.parent.name: path.parent for path in own_folder.glob("*/*/_SUCCESS")}
    assert published.keys() == {"module", "joined", "ray", "sent"}
    assert unit_files(own_folder / "ray") == unit_files(own_folder / "module")
    # A run that is resumed from another such folder, where it must find what it read before.
    (published["module"] / "_SUCCESS").unlink()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(own_folder / "jobs", elsewhere / "jobs")
    done(console, "resume", str(published["module"]), cwd=elsewhere, PYTHONPATH=f".:{ROOT}")
    assert (published["module"] / "_SUCCESS").exists()
