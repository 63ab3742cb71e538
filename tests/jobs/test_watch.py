"""`rerank status --watch`: shown anew while a driver is at work, then once more."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from jobs import views
from pipeline.candidates.planning import Plan, Unit
from pipeline.cli import app
from pipeline.execution.runs.lease import take
from pipeline.execution.runs.run_folder import RunFolder
from tests.execution.runs.test_state import FINGERPRINT, RUN_ID, SNAPSHOT, description


def test_it_ends_with_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(str(tmp_path / RUN_ID))
    units = (Unit(name=f"{0:024x}", start=0, stop=9, documents=9),)
    plan = Plan(run_id=RUN_ID, fingerprint=FINGERPRINT, units=units)
    folder.start(plan, description(), repair=False, cas=True)
    states: list[dict[str, object]] = []
    for words in (["--json"], []):
        lease = take(folder.path, ttl_s=60, progress=SNAPSHOT.as_dict)
        lease.fence()
        # The driver ends while the command waits to look again.
        pause = SimpleNamespace(sleep=lambda seconds, ending=lease: ending.release())
        monkeypatch.setattr(views, "time", pause)
        done = CliRunner().invoke(app, ["status", folder.path, "--watch", *words])
        assert done.exit_code == 0, done.output
        if words:
            states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) == 2
    assert states[0]["live"] == SNAPSHOT.as_dict()
    assert states[-1]["live"] is None
    assert done.stdout.count("waiting for  units\n") == done.stdout.count("held by") == 1
    last = done.stdout.rpartition("\n\n")[2]
    assert "state        not finished; run the job again to resume" in last
