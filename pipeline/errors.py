"""What can go wrong, each with the exit code that the ``rerank`` command returns for it.

An error message names the file, row, key or setting that is wrong, what was expected, and how to
fix it; it is meant to be read by the person on call, so it must make sense without a traceback.
"""

from __future__ import annotations

from enum import IntEnum

from pipeline.plain_text import redacted


class ExitCode(IntEnum):
    """Exit codes of every command; documented in docs/commands.md, stable across versions."""

    OK = 0
    CONFIGURATION = 2
    INPUT_CONTRACT = 3
    MISSING = 4
    FAILED = 5
    QUARANTINE = 6
    GATE = 7
    LIMIT = 8
    HELD = 75
    FENCED = 76
    DENIED = 77
    INTERRUPTED = 130
    TERMINATED = 143


class RerankError(Exception):
    """A failure that the user can act on. The message is the whole explanation, without secrets."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class ConfigurationError(RerankError):
    """A setting, option or command line is wrong."""

    exit_code = ExitCode.CONFIGURATION


class InputContractError(RerankError):
    """The input breaks its contract in a way that no row-level quarantine can repair."""

    exit_code = ExitCode.INPUT_CONTRACT


class NotFoundError(RerankError):
    """A model, file or bucket is missing or cannot be opened."""

    exit_code = ExitCode.MISSING


class ModelError(NotFoundError):
    """A checkpoint is not what its family needs (missing tensor, wrong shape, pickle only)."""


class DamagedRunError(RerankError):
    """A run's folder is not as it was written: a file is damaged, gone, strange or of another run.

    Every file of a run carries its own digest, so this is never a guess. ``rerank status --check``
    names all such files, and ``rerank run --repair`` makes them anew.
    """

    exit_code = ExitCode.MISSING


class DamagedSetError(RerankError):
    """A training set's folder, or an export of one, is not as it was written.

    Its files carry their own digest or stand with it in the manifest, so this is never a guess.
    """

    exit_code = ExitCode.MISSING


class RunFailedError(RerankError):
    """The run stopped before publication; running it again resumes it."""

    exit_code = ExitCode.FAILED


class FeedError(RerankError):
    """A target did not take a publication; feeding it again continues where it stopped."""

    exit_code = ExitCode.FAILED


class QuarantineError(RerankError):
    """More candidates were quarantined than ``max_error_rate`` allows."""

    exit_code = ExitCode.QUARANTINE


class GateError(RerankError):
    """A finished run does not pass a gate, so it is not published; ``--accept`` publishes it."""

    exit_code = ExitCode.GATE


class LimitError(RerankError):
    """A run reached a limit of its settings and stopped in order; a raised limit resumes it."""

    exit_code = ExitCode.LIMIT


class LeaseHeldError(RerankError):
    """Another driver is at work on the same run; the message names it."""

    exit_code = ExitCode.HELD


class PublishedMeanwhileError(RerankError):
    """Somebody else published first, so what was decided on the publication before is void."""

    exit_code = ExitCode.HELD


class FencedError(RerankError):
    """Another driver took the run over while this one was silent; it may write nothing more."""

    exit_code = ExitCode.FENCED


class AccessDeniedError(RerankError):
    """The store refuses these credentials; trying again cannot help."""

    exit_code = ExitCode.DENIED


class StorageError(RerankError):
    """A store or disk failed, and went on failing however often it was asked."""

    exit_code = ExitCode.FAILED


class TerminatedError(RerankError):
    """SIGTERM arrived, and the run was given up in order; running it again resumes it."""

    exit_code = ExitCode.TERMINATED
