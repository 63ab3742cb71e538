"""A hub's name becomes a commit once; from there the commit counts, with a network or without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.makers import long_table, write
from tests.support.fake_hub import FakeHub, fake_hub

ROOT = Path(__file__).parents[2]
REPO = "teams/our-reranker"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as found:
        yield found


@pytest.fixture
def checkpoint(goldens: Path, tmp_path: Path) -> Path:
    """Ours, of which the hub has two commits."""
    first = tmp_path / "first"
    shutil.copytree(goldens / "ms-marco-minilm-tiny", first)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    config = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    return first


def rerank(
    hub: FakeHub, tmp_path: Path, *words: object, offline: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    cleared = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN")
    inherited = {name: value for name, value in os.environ.items() if name not in cleared}
    env = inherited | {
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        **({"HF_HUB_OFFLINE": "1"} if offline else {}),
        **more,
    }
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)]
    return subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )


def test_a_name_becomes_a_commit_that_a_run_keeps(
    hub: FakeHub, checkpoint: Path, tmp_path: Path
) -> None:
    """Name, commit, download; killed and resumed after the branch moved; then without network."""
    commit = hub.publish(REPO, checkpoint)
    path = write(tmp_path / "in.parquet", long_table(queries=6), row_group_size=20)
    sets = {"model.name": REPO, "input.path": path, "output.path": tmp_path / "out",
            "ray.mode": "in_process", "report.page": "false",
            "lease.ttl_s": 1}  # of the driver that is killed  # fmt: skip
    job = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]

    killed = rerank(hub, tmp_path, "run", *job, RERANK_FAILPOINTS="units.verified:1=crash")
    assert killed.returncode == -9, killed.stderr
    assert f"{REPO} at 'main' is commit {commit}" in killed.stderr
    assert "model.family: cross_encoder, by config.json" in killed.stderr
    moved = hub.publish(REPO, checkpoint.parent / "second")
    assert moved != commit

    [run] = (folder for folder in (tmp_path / "out").iterdir() if folder.is_dir())
    resumed = rerank(hub, tmp_path, "resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((run / "run.json").read_text())["model"]["revision"] == commit
    assert not any(moved in line for line in hub.asked)

    hub.asked.clear()
    offline = rerank(hub, tmp_path, "run", *job, "--dry-run", offline=True)
    assert offline.returncode == 0, offline.stderr
    assert str(run) in offline.stdout, "the cache knows which commit the branch was at"
    assert hub.asked == []

    other = rerank(hub, tmp_path, "run", *job, "--dry-run")
    assert other.returncode == 0, other.stderr
    assert str(run) not in other.stdout, "the branch is at another commit now"


def test_what_a_hub_does_not_have(hub: FakeHub, checkpoint: Path, tmp_path: Path) -> None:
    hub.publish(REPO, checkpoint)
    path = write(tmp_path / "in.parquet", long_table(queries=2), row_group_size=20)
    job = ["--set", f"input.path={path}", "--set", f"output.path={tmp_path}/out", "--dry-run"]
    done = rerank(hub, tmp_path, "run", "--set", f"model={{name: {REPO}, revision: v9}}", *job)
    assert done.returncode == 4, done.stderr
    assert f"'{REPO}' at revision v9 cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_adapter_on_a_hub_brings_its_base_and_both_are_pinned(
    hub: FakeHub, checkpoint: Path, goldens: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(goldens / "lora-bert-tiny", adapter)
    stated = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(
        json.dumps(stated | {"base_model_name_or_path": REPO})
    )
    commits = {"revision": hub.publish(REPO, checkpoint)}
    commits["adapter_revision"] = hub.publish("teams/our-adapter", adapter)
    path = write(tmp_path / "in.parquet", long_table(queries=2), row_group_size=20)
    sets = {"model.name": "teams/our-adapter", "input.path": path,
            "output.path": tmp_path / "out", "ray.mode": "in_process",
            "report.page": "false"}  # fmt: skip
    job = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    done = rerank(hub, tmp_path, "run", *job)
    assert done.returncode == 0, done.stderr
    assert f"teams/our-adapter is a LoRA adapter to {REPO}" in done.stderr
    [run] = (folder for folder in (tmp_path / "out").iterdir() if folder.is_dir())
    model = json.loads((run / "run.json").read_text())["config"]["model"]
    assert {key: model[key] for key in commits} == commits
    assert (model["weights"], model["adapter"]) == (REPO, "teams/our-adapter")
    assert "adapter:adapter_model.safetensors" in (run / "run.json").read_text()
