"""The policies against plain loops that say what they mean."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.prompts.long_documents import (
    Pieces,
    Spans,
    aggregate,
    first_pieces,
    head_tail,
    windows,
)
from pipeline.prompts.pairs import sigmoid
from pipeline.rerankers.bi_encoder import BiEncoder, BiEncoderSettings
from pipeline.tokenization.tokens import TokenArena

DOCUMENTS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), max_size=8)


def arrays(documents: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(documents, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def upstream_windows(length: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """jina-reranker-v2's own loop (spec section 1.6, step 4), as (start, end)."""
    if length <= room:
        return [(0, length)]
    overlap = min(overlap, room // 4)
    found, start = [], 0
    while start < length:
        end = start + room
        if end >= length:
            found.append((length - room, length))
            break
        found.append((start, end))
        start = end - overlap
    return found


@given(DOCUMENTS, st.integers(0, 120))
def test_windows_are_upstreams(documents: list[tuple[int, int]], overlap: int) -> None:
    lengths, room = arrays(documents)
    spans = windows(lengths, room, overlap)
    wanted = [
        (document, start, end - start)
        for document, (length, space) in enumerate(documents)
        for start, end in upstream_windows(length, space, overlap)
    ]
    assert list(zip(spans.document, spans.starts, spans.counts, strict=True)) == wanted


@pytest.mark.parametrize(
    ("length", "overlap", "starts"),
    [
        (10, 2, [0]),
        (11, 2, [0, 1]),
        (18, 2, [0, 8]),
        (19, 2, [0, 8, 9]),
        (20, 0, [0, 10]),
        (30, 99, [0, 8, 16, 20]),  # at most a quarter of the window
    ],
)
def test_the_last_window_is_pulled_back(length: int, overlap: int, starts: list[int]) -> None:
    spans = windows(np.array([length]), np.array([10]), overlap)
    assert spans.starts.tolist() == starts
    assert set(spans.counts.tolist()) == {10}


@given(DOCUMENTS)
def test_head_and_tail(documents: list[tuple[int, int]]) -> None:
    lengths, room = arrays(documents)
    texts = [np.arange(length, dtype=np.int32) for length in lengths]
    pieces = cut(texts, head_tail(lengths, room))
    assert pieces.document.tolist() == list(range(len(documents)))
    for text, space, piece in zip(texts, room, split(pieces), strict=True):
        if len(text) <= space:
            assert piece == text.tolist()
        else:
            head = math.ceil(space / 2)
            tail = space - head
            assert piece == text.tolist()[:head] + text.tolist()[len(text) - tail :]


def test_pieces_hold_the_tokens_of_their_windows() -> None:
    texts = [np.arange(0, 12), np.zeros(0), np.arange(100, 103)]
    lengths = np.array([12, 0, 3])
    pieces = cut([t.astype(np.int32) for t in texts], windows(lengths, np.array([5, 5, 5]), 1))
    assert split(pieces) == [
        [0, 1, 2, 3, 4],
        [4, 5, 6, 7, 8],
        [7, 8, 9, 10, 11],
        [],
        [100, 101, 102],
    ]
    assert first_pieces(pieces.document, 3).tolist() == [0, 3, 4, 5]


CHUNKS = st.lists(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=9), max_size=9)


@given(CHUNKS, st.integers(1, 5))
def test_aggregates(documents: list[list[float]], top_k: int) -> None:
    scores = np.array([s for chunks in documents for s in chunks], dtype=np.float32)
    first = np.append(0, np.cumsum([len(chunks) for chunks in documents])).astype(np.int64)
    best = aggregate(scores, first, how="max", top_k=top_k)
    assert best.tolist() == [max(chunks) for chunks in documents]
    means = aggregate(scores, first, how="mean_top_k", top_k=top_k)
    wanted = [np.mean(sorted(chunks)[::-1][:top_k]) for chunks in documents]
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, wanted, atol=1e-6)


@pytest.mark.parametrize("how", ["max", "mean_top_k"])
def test_a_chunk_without_a_score_is_not_passed_over(how: str) -> None:
    scores = np.array([1, np.nan, 3, 2], dtype=np.float32)
    got = aggregate(scores, np.array([0, 3, 4]), how=how, top_k=1)  # type: ignore[arg-type]
    assert np.isnan(got[0])
    assert got[1] == 2


def test_sigmoid_is_float32_and_does_not_overflow() -> None:
    logits = np.array([-200, -90, -12, 0, 1.59375, 12, 12.001, 200], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        got = sigmoid(logits)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-logits.astype(np.float64))), atol=1e-7)
    assert got[5] < got[6]  # one value in bfloat16


def test_a_bi_encoder_tells_what_it_read(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "ms-marco-minilm-tiny", tmp_path / "model")
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
    reranker = BiEncoder(checkpoint=Checkpoint(folder), settings=BiEncoderSettings(max_length=16))
    sequences = reranker.encode(CandidateLists.from_texts("a", ["b", "c " * 99, "", "b", "a"]))
    assert sequences.links["n_tokens"].tolist() == [3, 16, 2, 3, 3]
    assert sequences.links["truncated"].tolist() == [0, 1, 0, 0, 0]
    assert len(sequences) == 4  # each distinct text once


def cut(texts: list[np.ndarray], spans: Spans) -> Pieces:
    flat = np.concatenate([*texts, np.zeros(0)]).astype(np.int32)
    offsets = np.append(0, np.cumsum([len(text) for text in texts])).astype(np.int64)
    return Pieces.cut(TokenArena(flat, offsets), np.arange(len(texts), dtype=np.int64), spans)


def split(pieces: Pieces) -> list[list[int]]:
    arena = pieces.arena
    ends = zip(arena.offsets[:-1], arena.offsets[1:], strict=True)
    return [arena.token_ids[start:end].tolist() for start, end in ends]
