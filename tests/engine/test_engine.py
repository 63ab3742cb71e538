from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.config import EngineConfig
from pipeline.engine.build import build_engine
from pipeline.engine.engine import Engine
from pipeline.engine.scoring import document_scores
from pipeline.engine.statistics import Statistics, padding_waste
from pipeline.errors import ConfigurationError
from pipeline.rerankers.base import Reranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences


class Hungry(Reranker):
    """Scores a document by its length, and runs out of memory past ``room`` padded tokens."""

    def __init__(self, room: int, *, error: str = "cuda") -> None:
        super().__init__(settings=None)
        self.room, self.error, self.calls = room, error, 0

    def encode(self, lists: CandidateLists) -> Sequences:
        lengths = [len(t) for t in lists.documents.column("text").to_pylist()]
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
        return Sequences.one_readout_each(np.ones(offsets[-1], np.int32), offsets)

    def forward(self, batch: Batch) -> torch.Tensor:
        self.calls += 1
        if len(batch.lengths) * batch.lengths.max() > self.room:
            if self.error == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory")
            raise RuntimeError(self.error)
        values = torch.from_numpy(batch.lengths.astype(np.float32)[:, None])
        return torch.where(values == 13, torch.nan, values)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        return readouts[:, 0]


def run(room: int, lengths: list[int], *, budget: int = 1000, error: str = "cuda"):
    reranker = Hungry(room, error=error)
    lists = CandidateLists.from_texts("q", ["x" * n for n in lengths])
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=budget)
    sequences, readouts = engine.run(lists, reranker.encode(lists))
    return (*document_scores(reranker, lists, sequences, readouts), reranker.calls)


def test_scores_come_back_in_input_order() -> None:
    scores, codes, calls = run(10_000, [5, 1, 9, 2, 9], budget=18)
    assert scores.tolist() == [5, 1, 9, 2, 9]
    assert codes.tolist() == [None] * 5
    assert calls == 2


@pytest.mark.parametrize(
    "error",
    [
        "cuda",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_out_of_memory_halves_until_it_fits_and_loses_nothing(error: str) -> None:
    scores, codes, calls = run(20, [8, 7, 6, 5, 4, 3, 2, 1], error=error)
    assert scores.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert codes.tolist() == [None] * 8
    assert calls > 4


def test_a_sequence_too_large_alone_is_named_and_the_others_scored() -> None:
    scores, codes, _ = run(20, [50, 5, 13])
    assert codes.tolist() == [reasons.OUT_OF_MEMORY, None, reasons.NOT_FINITE]
    assert np.isnan(scores[[0, 2]]).all()
    assert scores[1] == 5


def test_other_errors_are_not_mistaken_for_memory() -> None:
    class Broken(Hungry):
        def forward(self, batch: Batch) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    reranker = Broken(10)
    lists = CandidateLists.from_texts("q", ["x"])
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=10)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.run(lists, reranker.encode(lists))


def test_a_batch_that_did_not_fit_makes_the_next_ones_smaller() -> None:
    reranker = Hungry(40)
    lists = CandidateLists.from_texts("q", ["x" * 10] * 16)
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=160)
    engine.run(lists, reranker.encode(lists))
    assert engine.token_budget == 40
    assert engine.statistics.halved == 3
    engine.run(lists, reranker.encode(lists))
    assert engine.statistics.halved == 3


def test_a_deterministic_engine_cuts_the_same_batches_after_running_out_of_memory() -> None:
    reranker = Hungry(40)
    lists = CandidateLists.from_texts("q", ["x" * 10] * 16)
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=160, deterministic=True)
    engine.run(lists, reranker.encode(lists))
    engine.run(lists, reranker.encode(lists))
    assert engine.token_budget == 160
    assert engine.statistics.halved == 6


def test_statistics_count_tokens_and_padding() -> None:
    reranker = Hungry(1_000)
    lists = CandidateLists.from_texts("q", ["xxxx", "xx", "xxxx"])
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=12)
    engine.run(lists, reranker.encode(lists))
    totals = engine.statistics.as_dict()
    assert (totals["units"], totals["batches"], totals["sequences"]) == (1, 1, 3)
    assert (totals["tokens"], totals["computed_tokens"]) == (10, 12)
    assert padding_waste(totals) == pytest.approx(2 / 12)
    assert (
        padding_waste(
            Engine(reranker, device=torch.device("cpu"), token_budget=1).statistics.as_dict()
        )
        == 0
    )
    reranker.can_pack = True
    reranker.load(device=torch.device("cpu"), dtype=torch.float32, packed=True)
    packed = Engine(reranker, device=torch.device("cpu"), token_budget=12)
    packed.run(lists, reranker.encode(lists))
    assert padding_waste(packed.statistics.as_dict()) == 0


def test_packing_that_a_family_cannot_do_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"engine\.packing"):
        build_engine(Hungry(1), EngineConfig(packing="packed"), "cpu", rebuild=lambda _: Hungry(1))


def test_the_float32_twin_is_made_once_and_only_when_it_is_needed() -> None:
    class Exact(Hungry):
        def forward(self, batch: Batch) -> torch.Tensor:
            assert len(batch.lengths) == 1, "alone"
            return -super().forward(batch).nan_to_num(13.0)

    made: list[Exact] = []

    def twin() -> Engine:
        made.append(Exact(100))
        return Engine(made[-1], device=torch.device("cpu"), token_budget=1)

    reranker = Hungry(100)
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=50, float32_twin=twin)

    def scores(*lengths: int) -> list[float]:
        lists = CandidateLists.from_texts("q", ["x" * n for n in lengths])
        return engine.run(lists, reranker.encode(lists))[1].values[:, 0].tolist()

    assert scores(1, 2, 3) == [1, 2, 3]
    assert made == []
    assert scores(1, 13, 3, 13) == [1, -13, 3, -13]
    assert scores(13) == [-13]
    assert len(made) == 1
    assert (made[0].calls, engine.statistics.rescored) == (3, 3)


class Held(Hungry):
    """Is on the device from ``begun`` until it is let ``go``; ``inside`` says how many are."""

    def __init__(self) -> None:
        super().__init__(10_000)
        self.begun, self.go = threading.Event(), threading.Event()

    def forward(self, batch: Batch) -> torch.Tensor:
        self.begun.set()
        assert self.go.wait(60)
        return super().forward(batch)


def test_a_round_is_prepared_while_the_device_has_another() -> None:
    reranker = Held()
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=100)
    units = [CandidateLists.from_texts("q", ["x" * n for n in sizes]) for sizes in ((5, 3), (7,))]
    first, second = (reranker.encode(lists) for lists in units)
    with ThreadPoolExecutor(1) as pool:
        scored = pool.submit(engine.score, first, lambda: units[0])
        assert reranker.begun.wait(60)
        counted = Statistics(units=1)
        prepared = engine.prepare(second, counted)
        assert not scored.done(), "the device is still held"
        reranker.go.set()
        readouts = engine.collect(engine.launch(prepared, counted), counted)
    assert readouts.values[:, 0].tolist() == [7]
    assert scored.result().readouts.values[:, 0].tolist() == [5, 3]
    assert (counted.tokens, scored.result().statistics.tokens) == (7, 8)


def test_units_of_several_threads_have_statistics_of_their_own() -> None:
    reranker = Hungry(40)
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=40)
    sizes = [[n, n, 13, 50][: n % 5] for n in range(1, 40)]

    def score(lengths: list[int]) -> tuple[list[float], Statistics]:
        lists = CandidateLists.from_texts("q", ["x" * n for n in lengths])
        done = engine.score(reranker.encode(lists), lambda: lists)
        return done.readouts.values[:, 0].tolist(), done.statistics

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(score, sizes))
    for lengths, (values, counted) in zip(sizes, found, strict=True):
        wanted = [math.nan if n in (13, 50) else n for n in lengths]
        assert values == pytest.approx(wanted, nan_ok=True)
        assert counted.units == 1
        assert counted.too_large == sum(n > 40 for n in lengths)
        assert counted.rescored == sum(n == 13 for n in lengths)
    totals = engine.statistics.as_dict()
    for name in totals:
        assert totals[name] == pytest.approx(sum(counted.as_dict()[name] for _, counted in found))


def test_a_round_that_was_prepared_before_its_batches_were_known_not_to_fit_is_cut_anew() -> None:
    reranker = Hungry(40)
    lists = CandidateLists.from_texts("q", ["x" * 10] * 16)
    engine = Engine(reranker, device=torch.device("cpu"), token_budget=160)
    counted = Statistics()
    prepared = engine.prepare(reranker.encode(lists), counted)
    engine.run(lists, reranker.encode(lists))
    readouts = engine.collect(engine.launch(prepared, counted), counted)
    assert readouts.values[:, 0].tolist() == [10] * 16
    assert (counted.halved, counted.batches) == (0, 4)


def test_no_documents_give_no_scores() -> None:
    scores, codes, calls = run(10, [])
    assert len(scores) == len(codes) == calls == 0
