"""A night's gates: measured, and what happens where one fails."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from pipeline.cluster.ray_start import RayJob
from pipeline.config.gates import GATES, GatesConfig
from pipeline.errors import ConfigurationError, GateError
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.making import PublishedRun
from pipeline.refresh.changes.places import place_of
from pipeline.refresh.gates.judgements import Judgements
from pipeline.refresh.gates.judging import GateResult, judge


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A gate that failed, and on whose word the run is published all the same.

    Attributes:
        gate: its name.
        by: who, ``user@host``.
        at: when, ISO 8601 with its zone.
        why: the reason that was given.
    """

    gate: str
    by: str
    at: str
    why: str

    def record(self) -> dict[str, str]:
        """What a publication says of it."""
        return asdict(self)


def measure(
    gates: GatesConfig,
    changes: Changes,
    before: RunFolder | None,
    after: RunFolder,
    config: RayJob,
    *,
    judgements: Judgements | None = None,
) -> tuple[GateResult, ...]:
    """Measure every gate that is on.

    Args:
        gates: the limits.
        changes: between the two runs.
        before: run of the last publication; None: there is none, and what compares passes.
        after: the run that is to be published.
        config: which Ray reads judged rows, and whether any does.
        judgements: those of ``gates``, opened.

    Raises:
        DamagedRunError: a run is not as it was written; names the file.
    """
    evaluation = None
    if judgements is not None:
        with ExitStack() as staying:
            place = place_of(config, staying, buckets=len(changes.parts))
            evaluation = judgements.evaluate(PublishedRun.open(after, "after"), place)
    return judge(
        gates,
        changes.manifest["statistics"],
        published_manifest(after),
        None if before is None else published_manifest(before),
        evaluation=evaluation,
    )


def check_names(accept: Collection[str], why: str | None, gates: GatesConfig) -> None:
    """Refuse options that could not be meant, before a night's work.

    Args:
        accept: gates that may fail.
        why: the reason that was given.
        gates: the limits.

    Raises:
        ConfigurationError: a gate is unknown or off, or there is no reason, or nothing to give one
            for.
    """
    for name in accept:
        if name not in GATES:
            raise ConfigurationError(f"--accept {name}: no such gate; known: {', '.join(GATES)}")
        if getattr(gates, name) is None:
            raise ConfigurationError(
                f"--accept {name}: refresh.gates.{name} is off, so that it cannot fail"
            )
    if accept and not (why and why.strip()):
        raise ConfigurationError(
            "--accept: say why with --reason TEXT; it stands in the publication"
        )
    if why is not None and not accept:
        raise ConfigurationError("--reason: is that of --accept GATE; give both or neither")


def passed(
    results: Sequence[GateResult], *, accept: Collection[str], by: str, at: str, why: str | None
) -> tuple[Accepted, ...]:
    """Whether a night may be published; the gates that failed and were accepted.

    Args:
        results: all gates.
        accept: names of those that may fail.
        by: who accepts, ``user@host``.
        at: when, ISO 8601.
        why: the reason.

    Raises:
        GateError: others failed; names each with its value, its limit and examples.
    """
    failed = [result for result in results if not result.passed]
    others = [result for result in failed if result.name not in accept]
    if others:
        raise GateError(_message(others))
    return tuple(Accepted(gate=one.name, by=by, at=at, why=why or "") for one in failed)


def _message(failed: Sequence[GateResult]) -> str:
    lines = []
    for result in failed:
        lines.append(str(result))
        if result.examples:
            lines.append(f"  {', '.join(result.examples)}")
    names = " ".join(f"--accept {result.name}" for result in failed)
    count = "a gate" if len(failed) == 1 else f"{len(failed)} gates"
    return (
        f"the run is finished, but {count} failed, so that it is not published:\n"
        + "\n".join(lines)
        + f"\nLook at it with `rerank diff`. To publish it: the same command with {names} "
        "--reason TEXT; or repair the input, or change the limit in refresh.gates"
    )
