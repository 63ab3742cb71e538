"""The server that child processes are forked from, where no child is ever needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

#: Ends while the server imports what takes seconds.
PREPARED = """
import multiprocessing.forkserver
from pipeline.execution.units.isolated_workers import prepare_processes
prepare_processes(network=True)
print(multiprocessing.forkserver._forkserver._forkserver_pid)
"""


def test_the_server_ends_with_the_process_that_prepared_it(tmp_path: Path) -> None:
    """Or whoever reads the output of a command that refused its settings would wait for it."""
    told = tmp_path / "told"
    with told.open("w") as file:
        done = subprocess.run([sys.executable, "-c", PREPARED], stdout=file)
    assert done.returncode == 0
    assert not psutil.pid_exists(int(told.read_text()))
