"""What a comparison found, as it is written with ``--json``: docs/benchmarks.md names the keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.bench.measuring import Spread
from pipeline.bench.results import EndToEnd, EngineFigures, Facts


@dataclass(frozen=True, kw_only=True)
class PeakFacts:
    """The machine at its best: operations per second of ``product``, a matrix product."""

    flop_per_s: float
    flop_per_cpu_s: float | None
    product: str


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """Useful operations over the peak's, by the clock and by CPU time (None on a GPU)."""

    mfu: float
    mfu_cpu: float | None


@dataclass(frozen=True, kw_only=True)
class ContenderFigures:
    """What one contender reached.

    Attributes:
        figures: as of the engine alone.
        ours: whether it is the package's engine.
        utilisation: of the machine in a whole pass.
        network_only: of the machine by the network alone; None where there are no stages.
    """

    figures: EngineFigures
    ours: bool
    utilisation: Utilisation
    network_only: Utilisation | None

    def plain(self) -> dict[str, Any]:
        """Flat, as JSON has it."""
        found = asdict(self.figures) | {"ours": self.ours} | asdict(self.utilisation)
        if self.network_only is not None:
            found["network_only"] |= asdict(self.network_only)
        return found


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times the base's time a contender took; None where there were too few rounds."""

    name: str
    wall: Spread | None
    cpu: Spread | None
    wall_to_network_only: Spread | None


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """How far two contenders agree; ``most`` is None where a score is no number."""

    first: str
    second: str
    most: float | None
    overlap: float
    tau: float


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Of all contenders.

    Attributes:
        facts: what was measured, and on what.
        peak: of the machine in the same run.
        base: name of the contender that the others are compared with.
        contenders: what each reached.
        ratios: of those whose scores are the base's.
        tolerance: largest difference of two scores for which speeds are compared.
        not_compared: names of those whose scores differ by more.
        agreement: of every pair.
        end_to_end: through Ray, where asked for.
    """

    facts: Facts
    peak: PeakFacts
    base: str
    contenders: list[ContenderFigures]
    ratios: list[Ratio]
    tolerance: float
    not_compared: list[str]
    agreement: list[PairAgreement]
    end_to_end: EndToEnd | None = None

    def plain(self) -> dict[str, Any]:
        """The same as JSON has it."""
        found = asdict(self.facts) | {
            "peak": asdict(self.peak),
            "base": self.base,
            "contenders": [each.plain() for each in self.contenders],
            "ratios": [asdict(each) for each in self.ratios],
            "tolerance": self.tolerance,
            "not_compared": self.not_compared,
            "agreement": [asdict(each) for each in self.agreement],
        }
        if self.end_to_end is not None:
            found["end_to_end"] = asdict(self.end_to_end)
        return found
