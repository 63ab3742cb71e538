"""What a bench asks for, and everything that is there before its first round."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pipeline.benchmarking.contender import Contender, Subject
from pipeline.benchmarking.engines import OurEngine, Way
from pipeline.benchmarking.peers import PEERS, available, check
from pipeline.benchmarking.shapes import Scale, Shape, shape_named
from pipeline.benchmarking.workloads import WORKLOADS, Size, Work, make
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig, UnitsConfig
from pipeline.engine.device import dtype_name, torch_device, use_threads
from pipeline.errors import ConfigurationError

#: Rows and columns of visual tokens of a page, and how much larger its file is, by scale.
PAGES: Final[dict[Scale, tuple[tuple[int, int], int]]] = {
    "real": ((32, 24), 2),
    "tiny": ((4, 3), 1),
}

_OURS: Final[tuple[Way, ...]] = ("packed", "padded", "unshared")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What to measure.

    Attributes:
        workload: its name.
        model: a shape's name; None: the workload's own.
        scale: real or tiny networks.
        engine: which way of ours the others are compared with; ``all`` is auto, and the other ways
            of ours take part as well.
        peers: names; None: everyone who can.
        rounds: paired rounds.
        size: of the workload.
        reuse: in how many lists each document is.
        seed: of the texts.
        device: cpu or cuda.
        dtype: as ``engine.dtype`` of a job.
        threads: of torch on CPU; None: as torch has it.
        unit_documents: as ``units.documents`` of a job.
        cache: folder of checkpoints.
    """

    workload: str
    cache: Path
    model: str | None = None
    scale: Scale = "real"
    engine: Literal["auto", "packed", "padded", "all"] = "auto"
    peers: tuple[str, ...] | None = None
    rounds: int = 3
    size: Size = "s"
    reuse: int = 1
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: str = "auto"
    threads: int | None = None
    unit_documents: int = field(default_factory=lambda: UnitsConfig().documents)

    def shape(self) -> Shape:
        """The model's shape.

        Raises:
            ConfigurationError: the workload or the model is unknown, or they do not go together.
        """
        if self.workload not in WORKLOADS:
            raise ConfigurationError(
                f"--workload: no workload '{self.workload}'; there are {', '.join(WORKLOADS)}"
            )
        suited = WORKLOADS[self.workload].models
        shape = shape_named(self.model or suited[0])
        if shape.name not in suited:
            raise ConfigurationError(
                f"--model: {shape.name} does not suit the workload {self.workload}; these do: "
                f"{', '.join(suited)}"
            )
        return shape


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that is there before the first round.

    Attributes:
        bench: what is measured.
        subject: the model.
        base: the engine that the others are compared with.
        others: everyone else.
        work: the lists.
        units: the same, cut.
    """

    bench: Bench
    subject: Subject
    base: OurEngine
    others: list[Contender]
    work: Work
    units: list[CandidateLists]


def prepare(bench: Bench) -> Prepared:
    """Write the checkpoint where needed, load every contender, make the lists.

    Raises:
        ConfigurationError: an option is wrong, or options do not go together.
    """
    shape = bench.shape()
    for name in bench.peers or ():
        if name not in _OURS:
            check(name, shape)
    device = torch_device(bench.device)
    _quiet()
    if bench.threads is not None:
        use_threads(bench.threads)
    subject = Subject(
        shape=shape,
        scale=bench.scale,
        cache=bench.cache,
        device=device,
        dtype=dtype_name(bench.dtype, bench.device),
    )
    way: Way = "auto" if bench.engine == "all" else bench.engine
    settings = EngineConfig()
    base = OurEngine(subject, way, settings)
    others = [_contender(name, subject, settings) for name in _names(bench, shape, base)]
    page_tokens, scan = PAGES[bench.scale]
    work = make(
        WORKLOADS[bench.workload],
        bench.size,
        reuse=bench.reuse,
        seed=bench.seed,
        tokens=lambda texts: base.reranker.tokenizer.encode(texts).lengths,  # type: ignore[attr-defined]
        page_tokens=page_tokens,
        scan=scan,
    )
    units = list(work.units(bench.unit_documents))
    return Prepared(bench=bench, subject=subject, base=base, others=others, work=work, units=units)


def _names(bench: Bench, shape: Shape, base: OurEngine) -> list[str]:
    """Who takes part beside the base: ways of ours that differ from it, and peers."""
    ways = ["padded"] if base.name != "padded" else []
    if base.reranker.can_pack and base.name == "padded":
        ways.append("packed")
    if base.shares:
        ways.append("unshared")
    if bench.peers is None:
        return [*ways, *available(shape, bench.device)]
    asked = [name for name in bench.peers if name != base.name]
    return [*(way for way in ways if bench.engine == "all" and way not in asked), *asked]


def _contender(name: str, subject: Subject, settings: EngineConfig) -> Contender:
    for way in _OURS:
        if name == way:
            return OurEngine(subject, way, settings)
    return PEERS[name].make(subject)


def _quiet() -> None:
    """Loading bars and hints of libraries have no place between a bench's figures."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
