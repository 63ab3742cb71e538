"""How every command ends: with a sentence on standard error and a code of docs/commands.md.

This module imports nothing that may be missing or broken, so that it can speak of what is.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, Final, NoReturn

from pipeline.errors import ConfigurationError, ExitCode, RerankError
from pipeline.plain_text import holds_credentials, redacted, visible
from pipeline.reports.log_lines import NAME, json_line, logs_are_json

#: How a command is asked for a log that is JSON.
LOG_FORMAT: Final = "--log-format"
LOG_FORMAT_VARIABLE: Final = "RERANK_LOG_FORMAT"


def run_module(name: str) -> NoReturn:
    """Import ``jobs.NAME`` and run its ``main``, telling what goes wrong in either."""
    run_process(lambda: import_module(name).main())


def run_process(body: Callable[[], object]) -> NoReturn:
    """:func:`guarded` for the command line that a process was started for: the process ends.

    It does what the interpreter does at its end, but for taking itself apart. A thread of a library
    (Arrow's, gRPC's) that is about to enter Python meanwhile would end the process with SIGABRT and
    code 134, after all work was done. multiprocessing ends its processes in the same way.
    """
    code: object = int(ExitCode.FAILED)
    try:
        _take_signals()
        guarded(body)
    except SystemExit as left:
        code = left.code
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]  # waits for all but daemons
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            _flush(stream)
    os._exit(code if isinstance(code, int) else int(ExitCode.FAILED))


def guarded(body: Callable[[], object]) -> NoReturn:
    """Run a whole command line and leave with its exit code; what is raised becomes a message."""
    try:
        _open_descriptors()
        _never_fail_to_encode()
        _refuse_credentials(sys.argv[1:])
        body()
        code = int(ExitCode.OK)
        _flush(sys.stdout)
    except BaseException as error:
        code = told(error)
    with contextlib.suppress(BaseException):
        _flush(sys.stdout)
    _leave_quietly()
    sys.exit(code)


def _take_signals() -> None:
    """Have signals that end a process do so with a sentence, while nobody else takes them.

    A run takes them over while it holds a lease (:mod:`pipeline.execution.termination`). Before
    that, say while an input is hashed or staged, nothing has to be given back.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not ignored, as nohup has it
            signal.signal(number, _ended_by)


def _ended_by(number: int, frame: object) -> NoReturn:
    with contextlib.suppress(BaseException):  # it may have come in the middle of a write
        say(f"ended by {signal.Signals(number).name}; run the same command again to resume")
    with contextlib.suppress(BaseException):
        _flush(sys.stdout)
    os._exit(int(ExitCode.TERMINATED))


def told(error: BaseException) -> int:
    """Say on standard error what ended a command; returns the exit code."""
    own = _of_command_line(error)
    if own is not None:
        return own
    if isinstance(error, SystemExit):
        return _of_exit(error)
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; run the same command again to resume")
        return int(ExitCode.INTERRUPTED)
    if isinstance(error, RerankError):
        say(str(error))
        return int(error.exit_code)
    if _is_lost_output(error):
        say(f"standard output cannot be written ({_of(error)}); what was not printed is lost")
        return int(ExitCode.FAILED)
    say(f"unexpected {_of(error)}; {_kept(error)}")
    return int(ExitCode.FAILED)


def say(message: str) -> None:
    """One message on standard error, where there is one; further lines of it are indented.

    An object of the log where that is JSON.
    """
    if _log_is_json():
        return say_plainly(json_line("ERROR", message.strip("\n"), logger=NAME))
    shown = visible(redacted(message), keep="\n").strip("\n").replace("\n", "\n    ")
    stream = sys.stderr
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        text = f"error: {shown}\n".encode(encoding, "backslashreplace").decode(encoding)
        stream.write(text)
        stream.flush()


def _log_is_json() -> bool:
    """Whether standard error is to hold JSON: as the log was set up, before that as was asked."""
    if logging.getLogger(NAME).handlers:
        return logs_are_json()
    words = sys.argv[1:]
    given = [after for word, after in pairwise(words) if word == LOG_FORMAT]
    given += [word.partition("=")[2] for word in words if word.startswith(f"{LOG_FORMAT}=")]
    return (given or [os.environ.get(LOG_FORMAT_VARIABLE, "")])[-1] == "json"


def _of_command_line(error: BaseException) -> int | None:
    """The code of an end that the command line's library asked for; None for anything else.

    By names, since typer brings these classes along or takes those of click, by its version.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "Exit" in kinds and hasattr(error, "exit_code"):
        return int(error.exit_code)
    if "Abort" in kinds and not isinstance(error, RerankError):
        say("interrupted")
        return int(ExitCode.INTERRUPTED)
    if "NoArgsIsHelpError" in kinds:
        say_plainly(str(error))
        return int(ExitCode.CONFIGURATION)
    if "ClickException" in kinds and hasattr(error, "exit_code"):
        context = getattr(error, "ctx", None)
        if context is not None and not _log_is_json():
            say_plainly(context.get_usage())
        say(error.format_message())  # type: ignore[attr-defined]
        return int(error.exit_code)
    return None


def say_plainly(text: str) -> None:
    """Text of the program itself, on standard error, as it is."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")


def _of_exit(error: SystemExit) -> int:
    if error.code is None:
        return int(ExitCode.OK)
    if isinstance(error.code, int):
        known = {int(code) for code in ExitCode}
        if error.code in known:
            return error.code
        if error.code == signal.SIGTERM:  # how Ray's own handler leaves
            say("ended by SIGTERM; run the same command again to resume")
            return int(ExitCode.TERMINATED)
        say(f"ended with code {error.code}")
        return int(ExitCode.FAILED)
    say(str(error.code))
    return int(ExitCode.FAILED)


def _is_lost_output(error: BaseException) -> bool:
    """Whether this came from writing to a stream that is full, or that nobody reads."""
    if isinstance(error, BrokenPipeError):
        return True
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EIO):
        return False
    return error.filename is None and _last_frame_prints(error)


def _last_frame_prints(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    named = ("rich", "click", "typer", "ending.py", "command.py")
    return bool(frames) and any(part in frames[-1].filename for part in named)


def _of(error: BaseException) -> str:
    """Class and message of an exception in one line."""
    with contextlib.suppress(Exception):
        words = " ".join(str(error).split())
        cut = words if len(words) <= 300 else words[:300] + "..."
        return f"{type(error).__name__}: {cut}" if cut else type(error).__name__
    return type(error).__name__


def _kept(error: BaseException) -> str:
    """Where the traceback is: in a private file, or on standard error where none can be made."""
    try:
        text = redacted("".join(traceback.format_exception(error)))
    except Exception:  # an exception whose own text cannot be made
        text = redacted("".join(traceback.format_tb(error.__traceback__)))
    text = visible(text, keep="\n")
    try:
        handle, path = tempfile.mkstemp(prefix="rerank-traceback-", suffix=".txt")  # mode 600
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except (OSError, ValueError):
        say_plainly(text)
        return "the traceback is above"
    return f"the traceback is in {path}"


def _refuse_credentials(words: Sequence[str]) -> None:
    for place, word in enumerate(words, start=1):
        if holds_credentials(word):
            raise ConfigurationError(
                f"argument {place} of the command line holds credentials (in a URI, or a token), "
                "which every user of this machine can see; they come from the environment, e.g. "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or an instance role"
            )


def _open_descriptors() -> None:
    """Point standard streams that were closed to nowhere.

    The next files that are opened would get their numbers, and what some library writes to
    standard output would end up in them.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _never_fail_to_encode() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush(stream: Any) -> None:
    if stream is not None:
        stream.flush()


def _leave_quietly() -> None:
    """Point standard output that cannot be flushed to nowhere, or Python would complain at exit."""
    try:
        _flush(sys.stdout)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
