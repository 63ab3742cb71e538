"""Peers give our scores, and batch as they say they do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.contender import Contender, pairs_of
from benchmarks.peers import PEERS, available, check
from benchmarks.peers.backends import Backend, interpreter
from benchmarks.peers.jina_v3_policy import prompt
from pipeline.bench.engines import BenchEngine, Scored
from pipeline.bench.inputs.workloads import WORKLOADS, Work, make
from pipeline.bench.models.shapes import SHAPES
from pipeline.bench.passes import Passes
from pipeline.bench.subject import Subject
from pipeline.config import EngineConfig
from pipeline.errors import ConfigurationError
from pipeline.ranking.agreement import agreement
from pipeline.sequences.sequences import Sequences

#: Every peer with every architecture that it runs. Converting a network for a runtime takes
#: seconds, so of those one runs the second architecture, without token types, in one precision.
#: Those that have an environment of their own take part where it is there, as others do of extras.
PAIRS = [
    (shape, peer)
    for shape in ("minilm-l6", "xlmr-base", "jina-v2", "jina-tiny", "jina-v3", "jina-m0")
    for peer in PEERS
    if PEERS[peer].suits(SHAPES[shape])
    and (shape == "minilm-l6" or PEERS[peer].extra != "runtimes" or peer == "onnxruntime")
    and (interpreter() is not None or not PEERS[peer].elsewhere)
]

Ours = Callable[[str], tuple[BenchEngine, Work, Scored]]


@pytest.fixture(scope="module")
def ours(subject: Callable[[str], Subject]) -> Ours:
    """Our padded engine on a small workload, by shape."""

    @cache
    def run(name: str) -> tuple[BenchEngine, Work, Scored]:
        engine = BenchEngine(subject(name), "padded", EngineConfig())
        tokenizer = engine.reranker.tokenizer  # type: ignore[attr-defined]
        workload = next(each for each in WORKLOADS.values() if name in each.models)
        work = make(
            workload, "s", reuse=2, page_tokens=(4, 3), scan=1,
            tokens=lambda texts: tokenizer.encode(texts).lengths,
        )  # fmt: skip
        return engine, work, engine.score(list(work.units(60)))

    return run


@pytest.mark.parametrize(("shape", "peer"), PAIRS)
def test_a_peer_gives_our_scores(
    subject: Callable[[str], Subject], ours: Ours, shape: str, peer: str
) -> None:
    _, work, expected = ours(shape)
    contender = PEERS[peer].make(subject(shape))
    found = contender.score(list(work.units(60)))
    pair = agreement(found.scores, expected.scores, work.lists.offsets)
    exact = contender.precision in ("", "float32")
    assert pair.most < (1e-5 if exact else 0.5)
    assert pair.tau > (0.999 if exact else 0.5)
    assert found.computed is not None


def lengths_of(engine: BenchEngine, work: Work) -> np.ndarray:
    sequences: Sequences = engine.reranker.encode(work.lists)
    return sequences.unshared().lengths


def padded(lengths: np.ndarray, size: int) -> int:
    """Tokens of consecutive batches padded to their longest."""
    return sum(
        len(batch) * int(batch.max())
        for batch in (lengths[start : start + size] for start in range(0, len(lengths), size))
    )


def library_order(contender: Contender, texts: list[tuple[str, str]]) -> np.ndarray:
    """The order in which sentence-transformers takes pairs, by its own measure of length."""
    model = contender.model  # type: ignore[attr-defined]
    return np.argsort([-model._input_length(pair) for pair in texts])


def test_arrival_order_pads_to_the_longest_of_32(
    subject: Callable[[str], Subject], ours: Ours
) -> None:
    engine, work, _ = ours("minilm-l6")
    found = PEERS["jina-v2-policy"].make(subject("minilm-l6")).score([work.lists])
    assert found.computed == padded(lengths_of(engine, work), 32)


def test_predict_sorts_everything_and_rank_every_list(
    subject: Callable[[str], Subject], ours: Ours
) -> None:
    engine, work, _ = ours("minilm-l6")
    lengths, texts = lengths_of(engine, work), pairs_of(work.lists)
    contender = PEERS["st-predict"].make(subject("minilm-l6"))
    order = library_order(contender, texts)
    assert contender.score(list(work.units(60))).computed == padded(lengths[order], 32)

    def by_list() -> Iterator[int]:
        for first, last in zip(work.lists.offsets[:-1], work.lists.offsets[1:], strict=True):
            inner = library_order(contender, texts[first:last])
            yield padded(lengths[first:last][inner], 32)

    ranked = PEERS["st-rank"].make(subject("minilm-l6")).score(list(work.units(60)))
    assert ranked.computed == sum(by_list())
    assert ranked.computed > padded(lengths[order], 32)


def test_one_window_at_a_time_reads_the_whole_prompt(
    subject: Callable[[str], Subject], ours: Ours
) -> None:
    engine, work, _ = ours("jina-v3")
    found = PEERS["jina-v3-policy"].make(subject("jina-v3")).score([work.lists])
    # The tokens behind the last readout, which causal attention makes needless.
    tail = engine.reranker.tokenizer.encode(  # type: ignore[attr-defined]
        ["\n</query><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"]
    ).lengths[0]
    assert found.computed == lengths_of(engine, work).sum() + tail * len(work.lists)
    texts = work.lists.documents.column("text").to_pylist()[:2]
    assert prompt("why", texts).count("<|embed_token|>") == 2


def test_pages_are_padded_to_the_longest_of_eight(
    subject: Callable[[str], Subject], ours: Ours
) -> None:
    engine, work, _ = ours("jina-m0")
    found = PEERS["jina-m0-policy"].make(subject("jina-m0")).score([work.lists])
    sequences = engine.reranker.encode(work.lists).unshared()
    in_order = np.empty(len(sequences), dtype=np.int64)
    in_order[sequences.links["document"]] = sequences.lengths
    assert found.computed == padded(in_order, 8)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("tei", "minilm-l6", "no peer 'tei'; there are st-predict"),
        ("jina-v3-policy", "minilm-l6", "jina-v3-policy cannot run the model minilm-l6"),
        ("st-rank", "jina-tiny", "st-rank cannot run the model jina-tiny"),
    ],
)
def test_a_peer_that_cannot_take_part_is_refused(name: str, shape: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check(name, SHAPES[shape])


def test_a_peer_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("benchmarks.peers.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"sentence-transformers; install the extra"):
        check("st-predict", SHAPES["minilm-l6"])
    assert available(SHAPES["minilm-l6"], "cpu") == ["jina-v2-policy"]


def test_a_backend_of_the_library_in_a_process_of_its_own(
    subject: Callable[[str], Subject], ours: Ours
) -> None:
    """The process, the pipe and what it counts, with the backend that all environments have."""
    engine, work, expected = ours("minilm-l6")
    peer = Backend(
        subject("minilm-l6"), backend="torch", precision="float32", python=sys.executable
    )
    try:
        passes = Passes()
        for _ in range(2):
            passes.add(peer, list(work.units(60)), torch.device("cpu"))
    finally:
        peer.close()
    found = passes.scored[-1]
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert found.computed is not None
    assert found.computed >= lengths_of(engine, work).sum()
    assert (passes.costs[-1], passes.memories[-1]) == found.elsewhere
    assert peer.name == "st-torch"
    assert "sentence-transformers 6" in peer.about


def test_a_process_that_ends_says_what_its_environment_should_be(
    subject: Callable[[str], Subject], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"st-onnx: its process ended .* RERANK_PEERS_PY"):
        Backend(subject("minilm-l6"), backend="onnx", precision="float32", python="/bin/false")
    with pytest.raises(ConfigurationError, match=r"RERANK_PEERS_PYTHON: .*nowhere: No such file"):
        Backend(
            subject("minilm-l6"), backend="onnx", precision="float32",
            python=str(tmp_path / "nowhere"),
        )  # fmt: skip


def test_a_peer_with_an_environment_of_its_own_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RERANK_PEERS_PYTHON", raising=False)
    with pytest.raises(ConfigurationError, match=r"environment\.sh and set RERANK_PEERS_PYTHON"):
        check("st-openvino", SHAPES["minilm-l6"])
    monkeypatch.setenv("RERANK_PEERS_PYTHON", "somewhere")
    check("st-openvino", SHAPES["minilm-l6"])
    assert "st-openvino" not in available(SHAPES["minilm-l6"], "cpu")


def test_large_batches_are_for_gpus_unless_asked_for() -> None:
    assert "st-predict-256" not in available(SHAPES["minilm-l6"], "cpu")
    assert "st-predict-256" in available(SHAPES["minilm-l6"], "cuda")
    check("st-predict-256", SHAPES["minilm-l6"])
