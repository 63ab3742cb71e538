"""What every family owes: scores that depend on query and document alone, and no input that kills.

The suite lists the folder of families; a new family without a checkpoint to test it on fails here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.api import Ranker, load
from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.engine.families import find, names
from pipeline.engine.rounds import Readouts
from pipeline.engine.scoring import Scoreable, document_scores

GOLDENS = Path(__file__).parents[1] / "goldens"

#: A tiny checkpoint, or a card, for each family.
CHECKPOINTS: dict[str, str | None] = {
    "bi_encoder": "all-minilm-l6-v2",
    "bidirectional_decoder": "llama-nemotron-rerank-tiny",
    "cross_encoder": "bge-reranker-tiny",
    "decoder_classifier": "qwen3-seq-cls-tiny",
    "jina_m0": "jina-reranker-m0",
    "jina_v1": "jina-reranker-v1-turbo-tiny",
    "jina_v2": "jina-reranker-v2-tiny",
    "jina_v3": "jina-reranker-v3",
    "late_interaction": "jina-colbert-v2-tiny",
    "lexical": None,
    "qwen3_reranker": "qwen3-reranker-tiny",
    "token_logit": "ctxl-rerank-tiny",
    "qwen3_vl_reranker": "qwen3-vl-reranker-tiny",
}

#: Families that compare or generate rather than score, which have suites of their own and the end
#: of this one, and one that reads page images only.
ELSEWHERE = {"pairwise", "listwise_generation", "mono_qwen2_vl"}

#: The listwise family reads all documents of a list in one prompt.
LISTWISE = {"jina_v3"}

QUERIES = ["what helps dry skin", "how do trains keep time", "粗い紙"]
DOCUMENTS = [
    "creams with aloe keep the skin from drying out in winter",
    "trains leave every forty minutes from the old station by the river",
    "short",
    "the clock was repaired with a spring, and since then it has kept time well enough",
    "日本語の文書もここにあります。",
    "eggs, flour and salt",
]
#: Code points of every assigned plane, and what breaks naive string handling.
UNICODE = " ".join(
    chr(point) + "a"
    for point in (
        *(0xE9, 0xDF, 0x130, 0xFB01, 0xBD, 0x200B, 0xA0, 0xFEFF, 0x202E, 0x301, 0xE33, 0x627),
        *(0x1D518, 0x1F600, 0x1F469, 0x200D, 0x20000, 0x2A6DA, 0x30000, 0xE0041, 0xF0000, 0x10FFFD),
    )
)


@pytest.fixture(scope="module", params=sorted(CHECKPOINTS))
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def make(family: str) -> Callable[..., Ranker]:
    checkpoint = CHECKPOINTS[family]

    def build(**options: object) -> Ranker:
        if checkpoint is None or not (GOLDENS / checkpoint).is_dir():
            return load(checkpoint or family, device="cpu", **options)
        return load(str(GOLDENS / checkpoint), family=family, device="cpu", **options)

    return build


@pytest.fixture(scope="module")
def ranker(make: Callable[..., Ranker]) -> Ranker:
    return make(token_budget=600)


def lists_of(queries: dict[str, list[str]]) -> CandidateLists:
    """Several queries with their documents as one unit."""
    single = [CandidateLists.from_texts(query, list(d)) for query, d in queries.items()]
    sizes = [len(documents) for documents in queries.values()]
    return CandidateLists(
        queries=pa.concat_tables([one.queries for one in single]),
        offsets=np.append(0, np.cumsum(sizes)).astype(np.int64),
        documents=pa.concat_tables([one.documents for one in single]),
    )


def test_every_family_is_covered() -> None:
    assert set(names()) == set(CHECKPOINTS) | ELSEWHERE
    for name in names():
        assert find(name).__doc__
        assert "pointwise" in vars(find(name)), f"{name}: say whether it scores pair by pair"
    assert {name for name in names() if not find(name).pointwise} == {
        *LISTWISE,
        "pairwise",
        "listwise_generation",
    }


def test_a_score_depends_on_query_and_document_alone(
    family: str, make: Callable[..., Ranker], ranker: Ranker
) -> None:
    alone = {query: ranker.score(query, DOCUMENTS) for query in QUERIES}
    together = ranker.score_lists(lists_of({query: DOCUMENTS for query in QUERIES}))
    np.testing.assert_allclose(together, np.concatenate([alone[q] for q in QUERIES]), atol=1e-5)
    backwards = ranker.score_lists(lists_of({query: DOCUMENTS for query in QUERIES[::-1]}))
    np.testing.assert_allclose(
        backwards, np.concatenate([alone[q] for q in QUERIES[::-1]]), atol=1e-5
    )
    for budget in (1, 10_000):
        other = make(token_budget=budget)
        np.testing.assert_allclose(other.score(QUERIES[0], DOCUMENTS), alone[QUERIES[0]], atol=1e-5)
    if family not in LISTWISE:
        reordered = ranker.score(QUERIES[0], DOCUMENTS[::-1])[::-1]
        np.testing.assert_allclose(reordered, alone[QUERIES[0]], atol=1e-5)


@pytest.mark.parametrize("token_budget", [200, 3_000])
def test_padded_packed_and_shared_give_the_same_scores(
    make: Callable[..., Ranker], token_budget: int
) -> None:
    lists = lists_of({query: DOCUMENTS for query in QUERIES})
    padded = make(packing="padded", token_budget=token_budget)
    assert not padded.engine.reranker.packed
    expected = padded.score_lists(lists)
    for share_prefixes in (False, True):
        packed = make(share_prefixes=share_prefixes, token_budget=token_budget)
        assert packed.engine.reranker.packed == packed.engine.reranker.can_pack
        np.testing.assert_allclose(packed.score_lists(lists), expected, rtol=0, atol=2e-5)
        totals = packed.engine.statistics.as_dict()
        if packed.engine.reranker.packed:
            assert totals["computed_tokens"] == totals["tokens"]


def test_scores_tell_documents_apart(ranker: Ranker) -> None:
    scores = ranker.score(QUERIES[0], DOCUMENTS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert len(np.unique(scores.round(7))) > 1


def test_equal_documents_have_equal_scores_and_keep_their_order(
    family: str, ranker: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family in LISTWISE:
        pytest.skip("a listwise score depends on the place in the prompt")
    monkeypatch.setattr(ranker.engine, "token_budget", 64)  # copies would be in many batches
    documents = [DOCUMENTS[i * 5 % 6] for i in range(20)]
    ranked = ranker.rank(QUERIES[0], documents)
    for text in DOCUMENTS:
        copies = [row for row in ranked if row.document == text]
        assert len({row.score for row in copies}) == 1
        assert [row.index for row in copies] == sorted(row.index for row in copies)
    lists = lists_of({"a": documents[:9], QUERIES[1]: documents, "b": []})
    assert Scoreable.of(lists, ranker.engine.reranker).lists.documents.num_rows == 12


def test_a_missing_document_has_no_score_and_leaves_the_others_alone(ranker: Ranker) -> None:
    scores = ranker.score(QUERIES[0], [None, *DOCUMENTS[:2]])
    assert np.isnan(scores[0])
    np.testing.assert_allclose(scores[1:], ranker.score(QUERIES[0], DOCUMENTS[:2]), atol=1e-6)


def test_one_document_and_none(ranker: Ranker) -> None:
    assert ranker.score(QUERIES[0], DOCUMENTS[:1]).shape == (1,)
    assert ranker.score(QUERIES[0], []).shape == (0,)
    mixed = ranker.score_lists(lists_of({"a": [], "b": DOCUMENTS[:2], "c": []}))
    assert np.isfinite(mixed).all()
    assert len(mixed) == 2


def test_three_hundred_documents(ranker: Ranker) -> None:
    documents = [f"{DOCUMENTS[i % len(DOCUMENTS)]} {i}" for i in range(300)]
    scores = ranker.score(QUERIES[0], documents)
    assert scores.shape == (300,)
    assert np.isfinite(scores).all()


def test_empty_and_blank_texts_have_scores(ranker: Ranker) -> None:
    assert np.isfinite(ranker.score(QUERIES[0], ["", "   ", "\n", DOCUMENTS[0]])).all()
    assert np.isfinite(ranker.score("", DOCUMENTS)).all()


def test_a_very_long_text_leaves_its_neighbours_alone(
    family: str, make: Callable[..., Ranker]
) -> None:
    limits = {"max_length": 512} if family == "jina_v1" else {}
    ranker = make(token_budget=4096, **limits)
    long = "word " * 50_000
    scores = ranker.score(QUERIES[0], [DOCUMENTS[0], long])
    assert np.isfinite(scores).all()
    if family not in LISTWISE:
        np.testing.assert_allclose(scores[0], ranker.score(QUERIES[0], DOCUMENTS[:1])[0], atol=1e-5)


def special_tokens(family: str) -> list[str]:
    checkpoint = GOLDENS / str(CHECKPOINTS[family]) / "tokenizer.json"
    if not checkpoint.exists():
        return ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]"]
    added = json.loads(checkpoint.read_text(encoding="utf-8"))["added_tokens"]
    return [token["content"] for token in added]


def test_special_tokens_in_texts_are_text(family: str, ranker: Ranker) -> None:
    tokens = special_tokens(family)
    documents = [*(f"before {token} after" for token in tokens), " ".join(tokens)]
    assert np.isfinite(ranker.score(QUERIES[0], documents)).all()
    assert np.isfinite(ranker.score(" ".join(tokens), DOCUMENTS[:2])).all()
    plain = ranker.score(QUERIES[0], DOCUMENTS)
    if family not in LISTWISE:
        beside = ranker.score(QUERIES[0], [*DOCUMENTS, *documents])[: len(DOCUMENTS)]
        np.testing.assert_allclose(beside, plain, atol=1e-5)


def test_no_text_steers_the_prompt_where_special_tokens_are_text(
    family: str, make: Callable[..., Ranker]
) -> None:
    if family == "lexical":
        pytest.skip("it has no special tokens")
    tokens = special_tokens(family)
    hostile = [
        " ".join(tokens),
        "".join(tokens),
        *(f"a{token[:3]}{token}{token[3:]}b" for token in tokens),
    ]

    def controls(setting: str, query: str, documents: list[str]) -> npt.NDArray[np.int64]:
        reranker: Any = make(special_tokens=setting).engine.reranker
        tokenizer = getattr(reranker.tokenizer, "texts", reranker.tokenizer)
        numbers = {
            tokenizer.library.token_to_id(token) for token in tokens if "unk" not in token.lower()
        }
        if family == "late_interaction":
            numbers -= {reranker.tokenizer.filling.token}  # fills what a query leaves of its length
        ids = reranker.encode(CandidateLists.from_texts(query, documents)).unshared().token_ids
        return np.array([np.count_nonzero(ids == number) for number in sorted(numbers)])

    query = f"q {' '.join(tokens)}"
    template = controls("text", "q", [f"{i}" for i in range(len(hostile))])
    assert controls("text", query, hostile).tolist() == template.tolist()
    assert (
        controls("upstream", "q", [f"{i}" for i in range(len(hostile))]).tolist()
        == template.tolist()
    )
    assert controls("upstream", query, hostile).sum() > template.sum()
    counted, text = (make(special_tokens=s).engine.reranker for s in ("upstream", "text"))
    assert counted.marked_texts.find(pa.array(["a text", hostile[0]])).tolist() == [False, True]
    assert text.marked_texts is None


def test_texts_without_special_tokens_are_the_same_to_both(
    make: Callable[..., Ranker], ranker: Ranker, family: str
) -> None:
    if family == "lexical":
        pytest.skip("it has no special tokens")
    texts = [*DOCUMENTS, UNICODE, "", "  two  spaces\n\n", "\nfirst a break"]
    lists = lists_of({query: texts for query in [*QUERIES, "\nq"]})
    other = make(special_tokens="text").engine.reranker.encode(lists)
    assert other.to_ipc() == ranker.engine.reranker.encode(lists).to_ipc()


def test_unicode_of_every_plane(ranker: Ranker) -> None:
    assert np.isfinite(ranker.score(UNICODE, [UNICODE, UNICODE[::-1], DOCUMENTS[0]])).all()


def test_nan_from_the_model_is_named_and_never_ranked(ranker: Ranker) -> None:
    lists = CandidateLists.from_texts(QUERIES[0], list(DOCUMENTS))
    sequences = ranker.engine.reranker.encode(lists)
    sequences, readouts = ranker.engine.run(lists, sequences)
    spoiled = Readouts(
        values=np.full_like(readouts.values, np.nan), too_large=np.zeros(0, dtype=np.int64)
    )
    scores, codes = document_scores(ranker.engine.reranker, lists, sequences, spoiled)
    assert np.isnan(scores).all()
    assert set(codes) == {reasons.NOT_FINITE}


def test_what_is_encoded_survives_the_journey_between_workers(ranker: Ranker) -> None:
    lists = CandidateLists.from_texts(QUERIES[0], list(DOCUMENTS))
    encoded = ranker.engine.reranker.encode(lists)
    sequences = type(encoded).from_ipc(encoded.to_ipc())
    again, readouts = ranker.engine.run(lists, sequences)
    scores, _ = document_scores(ranker.engine.reranker, lists, again, readouts)
    np.testing.assert_allclose(scores, ranker.score(QUERIES[0], DOCUMENTS), atol=1e-6)


def test_a_null_document_keeps_its_place(ranker: Ranker) -> None:
    lists = CandidateLists.from_texts(QUERIES[0], list(DOCUMENTS))
    codes: list[str | None] = [None] * len(DOCUMENTS)
    codes[2] = reasons.NULL_TEXT
    index = lists.documents.column_names.index(schema.REASON)
    column = pa.array(codes, pa.string())
    marked = replace(lists, documents=lists.documents.set_column(index, schema.REASON, column))
    scores: npt.NDArray[np.float32] = ranker.score_lists(marked)
    assert np.isnan(scores).tolist() == [code is not None for code in codes]


@pytest.fixture(scope="module", params=["pairwise", "listwise_generation"])
def comparing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    """Families that ask a chat model about several documents at once."""
    from tests.rerankers.test_pairwise import write

    folder = write(tmp_path_factory.mktemp("chat") / "model")
    return load(str(folder), family=request.param, device="cpu", token_budget=2000)


@pytest.mark.parametrize(
    "documents",
    [[], ["alone"], ["", "   ", "full"], [UNICODE, UNICODE[::-1], "a"], ["word " * 5000, "short"]],
    ids=["none", "one", "empty", "unicode", "long"],
)
def test_comparing_families_take_any_text(comparing: Ranker, documents: list[str]) -> None:
    scores = comparing.score(QUERIES[0], documents)
    assert scores.shape == (len(documents),)
    assert np.isfinite(scores).all()


def test_comparing_families_keep_lists_apart(comparing: Ranker) -> None:
    alone = comparing.score(QUERIES[0], DOCUMENTS)
    unit = comparing.score_lists(lists_of({QUERIES[1]: DOCUMENTS[:3], QUERIES[0]: DOCUMENTS}))
    np.testing.assert_allclose(unit[3:], alone, atol=1e-5)
    special = [f"before {token} after" for token in special_tokens("qwen3_reranker")[:12]]
    assert np.isfinite(comparing.score(special[0], [*special, *DOCUMENTS])).all()
