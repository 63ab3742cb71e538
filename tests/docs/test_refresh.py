"""The two nights of docs/refresh.md are run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.refresh.publications.reading import history

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "refresh.md"

#: The command, as the scripts' folder of an installed package has it.
_RERANK = "import sys; sys.argv[0] = 'rerank'; from pipeline.cli import main; main()"


def blocks(heading: str) -> list[tuple[str, str]]:
    """Language and text of every block of code of a section, in order."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```(bash|python|yaml)\n(.*?)```", section, re.S)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``rerank`` is this checkout's, with ``conf`` beside its output."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    command = tmp_path / "bin" / "rerank"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{_RERANK}" "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{command.parent}:{os.environ['PATH']}"}


def test_the_two_nights_run_as_they_are_told(tmp_path: Path, shell: dict[str, str]) -> None:
    said = ""
    for language, code in blocks("Two nights"):
        if language == "yaml":
            (tmp_path / "nights.yaml").write_text(code, encoding="utf-8")
            continue
        words = ["/bin/sh", "-e", "-c"] if language == "bash" else [sys.executable, "-c"]
        done = subprocess.run(
            [*words, code], cwd=tmp_path, env=shell, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    text = " ".join(said.split())
    assert "reuse nothing: first night" in text
    scored = re.findall(r"to score ([\d,]+) of ([\d,]+) documents \(([\d.]+)%\)", text)
    assert [share == "100.0" for _, _, share in scored] == [True, False, False]
    assert scored[1] == scored[2]  # what the dry run said is what was done
    assert float(scored[1][2]) < 10
    assert [one.sequence for one in history(str(tmp_path / "out/refresh"))] == [3, 2, 1]
