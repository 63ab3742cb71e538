"""Every end of a command is a sentence on standard error and a code of docs/commands.md."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer

from jobs.command import command
from jobs.ending import guarded, told
from pipeline import errors
from pipeline.errors import ConfigurationError, ExitCode, RerankError

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "\x1b[31m \u202e s3://AKID:hunter22@bucket/x"


def end(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Code and standard error of a command line that ends with ``error``."""

    def body() -> None:
        raise error

    with pytest.raises(SystemExit) as left:
        guarded(body)
    said = capsys.readouterr()
    assert said.out == ""
    assert not {"\x1b", "\u202e"} & set(said.err)
    assert "hunter22" not in said.err
    assert isinstance(left.value.code, int)
    return left.value.code, said.err


@pytest.fixture(autouse=True)
def _own_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["rerank", "status", "out"])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RerankError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_ours_has_its_own_code(
    kind: type[RerankError], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, said = end(kind(f"out/x: broken {HOSTILE}\nerror: forged"), capsys)
    assert code == kind.exit_code
    assert said.startswith("error: out/x: broken")
    assert len([line for line in said.splitlines() if not line.startswith("    ")]) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        KeyError(HOSTILE),
        RuntimeError(f"two\nlines {HOSTILE}"),
        MemoryError(),
        RecursionError("maximum recursion depth exceeded"),
        UnicodeEncodeError("ascii", "é\ud800", 0, 1, "ordinal not in range"),
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        PermissionError(errno.EACCES, "Permission denied", "out"),
        ImportError("libarrow.so: cannot open shared object file"),
        AssertionError(),
        EOFError(),
        GeneratorExit(),
        StopIteration(),
        ValueError("x" * 10_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_one_line_and_a_private_traceback(
    error: BaseException, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, said = end(error, capsys)
    assert code == ExitCode.FAILED
    [line] = said.splitlines()
    assert line.startswith(f"error: unexpected {type(error).__name__}")
    assert len(line) < 700
    [file] = tmp_path.iterdir()
    assert str(file) in line
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in kept
    assert "hunter22" not in kept
    assert "\x1b" not in kept


def test_an_exception_that_cannot_be_shown_is_told_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert end(Mute(), capsys)[0] == ExitCode.FAILED


def test_a_traceback_that_cannot_be_kept_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    code, said = end(KeyError("x"), capsys)
    assert code == ExitCode.FAILED
    assert "Traceback (most recent call last)" in said
    assert said.splitlines()[-1] == "error: unexpected KeyError: 'x'; the traceback is above"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted; run the same command again to resume\n"),
        (typer.Exit(0), 0, ""),
        (typer.Exit(75), 75, ""),
        (typer.Exit(137), 137, ""),  # of a job elsewhere
        (typer.Abort(), 130, "error: interrupted\n"),
        (SystemExit(None), 0, ""),
        (SystemExit(0), 0, ""),
        (SystemExit(143), 143, ""),
        (SystemExit(15), 143, "error: ended by SIGTERM; run the same command again to resume\n"),
        (SystemExit(1), 5, "error: ended with code 1\n"),
        (SystemExit("a library gave up"), 5, "error: a library gave up\n"),
        (typer.BadParameter(f"no {HOSTILE}"), 2, None),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 5, None),
    ],
    ids=repr,
)
def test_other_ends(
    error: BaseException, code: int, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = end(error, capsys)
    assert found[0] == code
    if said is None:
        assert re.fullmatch(r"error: .+\n", found[1])
    else:
        assert found[1] == said


def test_the_body_of_a_command_ends_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ConfigurationError("x"), KeyError("x"), KeyboardInterrupt()):
        with pytest.raises(typer.Exit) as left, command():
            raise error
        assert left.value.exit_code == told(error)
        first, second = capsys.readouterr().err.splitlines()
        assert first.split("; the traceback")[0] == second.split("; the traceback")[0]


def test_credentials_on_the_command_line_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("s3://AKID:hunter22@bucket", "input.path=s3://AKID:hunter22@bucket"):
        monkeypatch.setattr(sys, "argv", ["rerank", "run", "--set", word])
        code, said = end(KeyError("never reached"), capsys)
        assert code == ExitCode.CONFIGURATION
        assert "argument 3 of the command line" in said


def start(
    *words: str, program: list[str] | None = None, **options: object
) -> subprocess.Popen[str]:
    command_line = program or ["-c", "from pipeline.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("more", {})}  # type: ignore[dict-item]
    return subprocess.Popen(
        [sys.executable, *command_line, *words], env=environment, text=True,
        stderr=subprocess.PIPE, **options,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.parametrize("words", [["models"], ["models", "--json"]])
def test_output_that_cannot_be_written_is_said(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        running = start(*words, stdout=full)
    _, said = running.communicate(timeout=120)
    assert running.returncode == ExitCode.FAILED
    assert said.startswith("error: standard output cannot be written (OSError: [Errno 28]")
    assert said.count("\n") == 1


def test_a_reader_that_leaves_is_said() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    running = start("models", stdout=writing)
    os.close(writing)
    _, said = running.communicate(timeout=120)
    assert running.returncode == ExitCode.FAILED
    assert said.startswith("error: standard output cannot be written (BrokenPipeError")
    assert said.count("\n") == 1


def test_closed_streams_are_no_failure_and_no_file_takes_their_place(tmp_path: Path) -> None:
    """What is written to descriptor 1 must not end up in a file that was opened later."""
    program = (
        "import os; from jobs.ending import guarded\n"
        f"def body():\n    file = open({str(tmp_path / 'data')!r}, 'w')\n"
        "    os.write(1, b'chatter'); os.write(2, b'chatter'); file.write('data')\n"
        "guarded(body)"
    )

    def close() -> None:
        for descriptor in (0, 1, 2):
            os.close(descriptor)

    for words in (["-c", program], ["-c", "from pipeline.cli import main; main()", "models"]):
        running = start(program=words, preexec_fn=close)
        assert running.communicate(timeout=120)[1] == ""
        assert running.returncode == 0
    assert (tmp_path / "data").read_text() == "data"


@pytest.mark.parametrize(
    "program", [["-c", "from pipeline.cli import main; main()", "run"], ["-m", "jobs.rerank"]]
)
def test_what_imports_raise_is_told(program: list[str], tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('typer is broken')")
    (tmp_path / "tmp").mkdir()
    more = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path / "tmp")}
    running = start(program=program, more=more, stdout=subprocess.PIPE, cwd=tmp_path)
    out, said = running.communicate(timeout=120)
    assert (running.returncode, out) == (ExitCode.FAILED, "")
    assert re.fullmatch(r"error: unexpected ImportError: typer is broken; the traceback .*\n", said)


def test_surrogates_in_arguments_and_an_encoding_without_them() -> None:
    more = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    running = start("status", os.fsdecode(b"/no/\xc3\xa9\xff[/x]\x1b"), more=more)
    _, said = running.communicate(timeout=120)
    assert running.returncode == ExitCode.MISSING
    assert said.startswith("error: /no/")
    assert "[/x]\\x1b: no run here" in said
    assert said.isascii()


@pytest.mark.parametrize(
    ("entry", "code"),
    [("raise KeyError('x')", 5), ("raise SystemExit(4)", 4), ("print('done')", 0)],
)
def test_a_thread_of_a_library_does_not_change_the_code(entry: str, code: int) -> None:
    """One that enters Python while the interpreter is taken apart would abort the process (134)."""
    program = f"""
import atexit, io, threading, time
import pyarrow
from jobs.ending import run_process

class Endless(io.RawIOBase):
    def readable(self):
        return True
    def read(self, size=-1):
        started.set()
        while True:
            time.sleep(0.0005)

def body():
    reading = pyarrow.PythonFile(Endless(), mode="r")
    threading.Thread(target=pyarrow.ipc.open_stream, args=[reading], daemon=True).start()
    started.wait()
    threading.Thread(target=lambda: (time.sleep(0.1), print("waited for", flush=True))).start()
    atexit.register(lambda: print("cleaned up"))
    {entry}

started = threading.Event()
run_process(body)
"""
    running = start(program=["-c", program], stdout=subprocess.PIPE)
    out, said = running.communicate(timeout=120)
    assert running.returncode == code
    assert out.endswith("waited for\ncleaned up\n")
    assert "Fatal Python error" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_a_sentence(number: signal.Signals) -> None:
    program = (
        "import signal, time; from jobs.ending import run_process; "
        # Whatever these tests were started by: nohup ignores it, and so would this command.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "run_process(lambda: (print('ready', flush=True), time.sleep(600)))"
    )
    running = start(program=["-c", program], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert said == f"error: ended by {number.name}; run the same command again to resume\n"
    assert running.returncode == ExitCode.TERMINATED


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    running = start("status", "out", cwd=gone, preexec_fn=gone.rmdir)
    _, said = running.communicate(timeout=120)
    assert running.returncode == ExitCode.MISSING
    assert "has been deleted" in said
