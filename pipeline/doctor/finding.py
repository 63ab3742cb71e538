"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pipeline.errors import RerankError
from pipeline.plain_text import redacted

State = Literal["ok", "note", "problem", "skipped"]

#: What is to do where nothing is.
NOTHING: Final = "nothing"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of an examination.

    Attributes:
        subject: what was looked at, in one or two words.
        state: ``ok``; ``note``, which stops no run; ``problem``, which stops one, or has it
            run on less than the machine has; ``skipped``, not looked at.
        found: what there is.
        to_do: what a person does about it.
    """

    subject: str
    state: State
    found: str
    to_do: str = NOTHING

    def described(self) -> dict[str, Any]:
        """As plain data, without secrets that an error or an address may hold."""
        return {name: redacted(value) for name, value in asdict(self).items()}


def ok(subject: str, found: str) -> Finding:
    """Nothing is to do."""
    return Finding(subject=subject, state="ok", found=found)


def note(subject: str, found: str, to_do: str) -> Finding:
    """Worth knowing; runs go on without it."""
    return Finding(subject=subject, state="note", found=found, to_do=to_do)


def problem(subject: str, found: str, to_do: str) -> Finding:
    """To be solved first."""
    return Finding(subject=subject, state="problem", found=found, to_do=to_do)


def skipped(subject: str, why: str, to_do: str) -> Finding:
    """Not looked at."""
    return Finding(subject=subject, state="skipped", found=f"not looked at: {why}", to_do=to_do)


def of_error(subject: str, error: RerankError) -> Finding:
    """An error of ours, which says what was expected and how to fix it after its first clause."""
    text = str(error)
    found, separator, rest = text.partition("; ")
    if not separator:
        found, separator, rest = text.partition(". ")
    return problem(subject, found if separator else text, rest if separator else "see the message")


def looked(subject: str, look: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """What a look finds; one that fails is a problem, and stops no other."""
    try:
        return list(look())
    except RerankError as error:
        return [of_error(subject, error)]
    except Exception as error:  # a broken installation may fail in any way
        return [
            problem(
                subject,
                f"{type(error).__name__}: {error}",
                "read the message; where it names a package, install that again",
            )
        ]
