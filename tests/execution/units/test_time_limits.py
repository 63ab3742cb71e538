"""Several limits in one process: whichever is reached ends it, and none takes another's away."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.execution.drivers import ROOT

#: ``work`` of two threads, each under a limit; ``begun`` says that both limits run.
PROGRAM = """
import threading
from pipeline.execution.units.time_limits import time_limit

first, second = {first}, {second}
begun = threading.Barrier(2)
never = threading.Event()

def work(limit_s, hangs):
    with time_limit(limit_s):
        begun.wait()
        if hangs:
            never.wait()

threads = [threading.Thread(target=work, args=pair) for pair in (first, second)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("both through")
"""


def ended(first: tuple[float, bool], second: tuple[float, bool]) -> tuple[int, str]:
    """Exit code and output of a process with two units, each a limit and whether it hangs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first, second=second)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("first", "second"),
    [((0.5, True), (3600, True)), ((3600, True), (0.5, True)), ((0.5, True), (3600, False))],
    ids=["the first hangs", "the second hangs", "its neighbour is through before"],
)
def test_a_unit_that_hangs_ends_its_process(
    first: tuple[float, bool], second: tuple[float, bool]
) -> None:
    code, said = ended(first, second)
    assert code == 1
    assert said.startswith("Timeout (")
    assert "both through" not in said


def test_units_that_are_through_leave_no_limit_behind() -> None:
    assert ended((3600, False), (3600, False)) == (0, "both through\n")
