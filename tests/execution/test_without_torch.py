"""A family that computes in NumPy imports torch in no process: driver, workers or replica."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.rerankers.lexical import Lexical
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]

#: Python runs it at the start of every process, children among them.
WATCH = """
import os, sys

class Watch:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers"):
            with open(os.environ["IMPORTED"], "a") as file:
                print(name, *sys.argv, file=file)

sys.meta_path.insert(0, Watch())
"""

WORK = """
import json, sys
import pipeline
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

if __name__ == "__main__":
    outcome = execute(prepare(JobConfig.model_validate(json.loads(sys.argv[1]))))
    ranked = pipeline.load("lexical").rank("a cat", ["a dog", "the cat sat on a mat"])
    print(json.dumps([outcome.units_run > 0, [each.index for each in ranked]]))
"""


def test_a_lexical_job_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    imported = tmp_path / "imported"
    job = lexical_job(write(tmp_path / "in.parquet", long_table()), str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-c", WORK, json.dumps(job)],
        env={
            **os.environ,
            "IMPORTED": str(imported),
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True, [1, 0]]
    assert not imported.exists(), imported.read_text()


def test_a_family_that_loads_something_has_torch_whatever_its_base() -> None:
    assert Lexical.numpy_only
    assert type("Named", (Lexical,), {}).numpy_only
    assert not type("Loaded", (Lexical,), {"load_network": lambda self, **_: None}).numpy_only
