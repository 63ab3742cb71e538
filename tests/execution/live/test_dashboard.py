"""A dashboard on a terminal: drawn in place, log lines above it, and the terminal given back."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import pytest
from rich.control import strip_control_codes

from pipeline.config import JobConfig
from pipeline.execution.live.dashboard import Dashboard, drawn
from pipeline.execution.live.snapshot import Snapshot
from pipeline.reports.terminal import Terminal
from tests.execution.drivers import ROOT, lexical_job
from tests.execution.live.test_wording import HALF
from tests.makers import long_table, write


def screen(width: int, now: Snapshot) -> list[str]:
    console = Terminal(width=width)
    console.file = io.StringIO()
    console.print(drawn(now))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    many = {f"a_rather_long_reason_{n}": n for n in range(9)}
    found = screen(width, replace(HALF, quarantined=many))
    assert max(map(len, found)) <= width
    assert " ".join(" ".join(found).split()).count("a_rather_long_reason_") == 9
    assert found[0].startswith("progress") and found[0].rstrip().endswith("31%")


def test_it_is_full_at_the_end_only() -> None:
    nearly = replace(HALF, documents=15_999, documents_in_flight=0)
    assert screen(80, nearly)[0].rstrip().endswith("99%")
    assert screen(80, replace(nearly, documents=16_001))[0].rstrip().endswith("100%")
    assert screen(80, Snapshot())[0].rstrip().endswith("0%")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_log_lines_pass_above_and_the_last_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Screen()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    logger = logging.getLogger("pipeline")
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logger, "handlers", [handler])
    dashboard = Dashboard(Terminal(stderr=True, width=80))
    with dashboard.shown():
        dashboard(HALF)
        logger.warning("unit x: set aside")
        dashboard(replace(HALF, units_done=13))
    text = stream.getvalue()
    assert handler.stream is stream
    assert text.index("12 of 40") < text.index("unit x: set aside") < text.index("13 of 40")
    assert text.endswith("\x1b[?25h"), "the cursor is there again"
    dashboard(HALF)
    assert stream.getvalue() == text, "nothing is drawn any more"


def test_a_run_on_a_terminal_draws_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table(queries=4))
    job = JobConfig.model_validate(lexical_job(path, str(tmp_path / "out")))
    code = (
        "import sys; from pipeline.config import JobConfig; from jobs.command import command\n"
        "from pipeline.execution.preparation import prepare\n"
        "from pipeline.execution.run import execute\n"
        "with command(): execute(prepare(JobConfig.model_validate_json(sys.argv[1])))"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 80))
    environment = os.environ | {"TERM": "xterm"}
    words = [sys.executable, "-c", code, job.model_dump_json()]
    driver = subprocess.Popen(words, cwd=ROOT, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # as a terminal's end is told of
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    assert driver.wait() == 0
    assert "waiting for  nothing, it is done" in strip_control_codes(seen.decode())
    assert b"\x1b[?25h" in seen
