"""Everything that is there before the first round of a bench."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.bench.engines import BenchEngine
from pipeline.bench.inputs.workloads import WORKLOADS, Work, make
from pipeline.bench.models.shapes import Scale
from pipeline.bench.options import UNIT_DOCUMENTS, BenchOptions
from pipeline.bench.run_input import copies_of
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig
from pipeline.engine.device import dtype_name, torch_device, use_threads

#: Rows and columns of visual tokens of a page, and how much larger its file is, by scale.
PAGES: Final[dict[Scale, tuple[tuple[int, int], int]]] = {
    "real": ((32, 24), 2),
    "tiny": ((4, 3), 1),
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A bench that is ready.

    Attributes:
        options: what is measured.
        subject: the model.
        engine: the loaded engine.
        work: the lists.
        units: the same, cut.
    """

    options: BenchOptions
    subject: Subject
    engine: BenchEngine
    work: Work
    units: list[CandidateLists]


def prepare(options: BenchOptions) -> Prepared:
    """Write the checkpoint where needed, load the engine, make the lists.

    Raises:
        ConfigurationError: options do not go together, or not with this machine.
    """
    device = torch_device(options.device)
    _quiet()
    if options.threads is not None:
        use_threads(options.threads)
    subject = Subject(
        shape=options.shape(),
        scale=options.scale,
        cache=options.cache,
        device=device,
        dtype=dtype_name(options.dtype, options.device),
    )
    engine = BenchEngine(subject, options.engine, EngineConfig())
    page_tokens, scan = PAGES[options.scale]
    work = make(
        WORKLOADS[options.workload],
        options.size,
        reuse=options.reuse,
        seed=options.seed,
        tokens=lambda texts: engine.reranker.tokenizer.encode(texts).lengths,  # type: ignore[attr-defined]
        page_tokens=page_tokens,
        scan=scan,
    )
    if options.end_to_end:
        copies_of(options, work)  # rather than after minutes of measuring
    units = list(work.units(options.unit_documents or UNIT_DOCUMENTS))
    return Prepared(options=options, subject=subject, engine=engine, work=work, units=units)


def _quiet() -> None:
    """Loading bars and hints of libraries have no place between a bench's figures."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
