"""What a comparison is asked for, and everything that is there before its first round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from benchmarks.harness.contender import Contender
from benchmarks.peers import PEERS, available, check
from pipeline.bench import preparing as bench_preparing
from pipeline.bench.engines import BenchEngine, Way
from pipeline.bench.options import BenchOptions
from pipeline.bench.preparing import Prepared
from pipeline.bench.subject import Subject
from pipeline.config import EngineConfig

_OURS: Final[tuple[Way, ...]] = ("packed", "padded", "unshared")

#: Our engine, as a run would do, in a precision of its own.
_PRECISIONS: Final = {f"ours-{name}": name for name in ("float32", "bfloat16", "int8")}


@dataclass(frozen=True, kw_only=True)
class CompareOptions(BenchOptions):
    """What to compare: the package's engine, the base, with the others.

    Attributes:
        peers: names of peers, of other ways of our engine, and of it in other precisions; None:
            everyone who can.
        every_way: the other ways of our engine take part, whatever ``peers`` names.
    """

    peers: tuple[str, ...] | None = None
    every_way: bool = False


@dataclass(frozen=True, kw_only=True)
class PreparedComparison:
    """A comparison that is ready.

    Attributes:
        base: the bench of the engine that the others are compared with.
        others: everyone else.
    """

    base: Prepared
    others: list[Contender]


def prepare(options: CompareOptions) -> PreparedComparison:
    """Write the checkpoint where needed, load every contender, make the lists.

    Raises:
        ConfigurationError: an option is wrong, or options do not go together.
    """
    for name in options.peers or ():
        if name not in _OURS and name not in _PRECISIONS:
            check(name, options.shape())
    base = bench_preparing.prepare(options)
    names = _names(options, base.engine)
    return PreparedComparison(base=base, others=[_contender(name, base.subject) for name in names])


def _names(options: CompareOptions, base: BenchEngine) -> list[str]:
    """Who takes part beside the base: ways of ours that differ from it, and peers."""
    ways = ["padded"] if base.name != "padded" else []
    if base.reranker.can_pack and base.name == "padded":
        ways.append("packed")
    if base.shares:
        ways.append("unshared")
    if options.peers is None:
        return [*ways, *available(options.shape(), options.device)]
    asked = [name for name in options.peers if name != base.name]
    return [*(way for way in ways if options.every_way and way not in asked), *asked]


def _contender(name: str, subject: Subject) -> Contender:
    if name in _PRECISIONS:
        engine = BenchEngine(replace(subject, dtype=_PRECISIONS[name]), "auto", EngineConfig())
        engine.name = name
        return engine
    for way in _OURS:
        if name == way:
            return BenchEngine(subject, way, EngineConfig())
    return PEERS[name].make(subject)
