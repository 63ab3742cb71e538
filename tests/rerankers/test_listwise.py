"""The pure parts of jina-reranker-v3: prompt pieces, sanitising, windows, merge."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ModelError
from pipeline.prompts import listwise_prompt as prompt
from pipeline.prompts.listwise_windows import Windows, merged_cosines, plan_windows
from pipeline.tokenization.tokens import TextTokenizer

GOLDEN = Path(__file__).parents[1] / "goldens" / "jina-reranker-v3"
TOKENIZER = TextTokenizer(Checkpoint(GOLDEN))


def plan(lengths: list[list[int]], room: list[int], longest: int, most: int) -> Windows:
    lists = np.append(0, np.cumsum([len(one) for one in lengths])).astype(np.int64)
    flat = np.array([n for one in lengths for n in one], dtype=np.int64)
    return plan_windows(flat, lists, room=np.array(room), longest=longest, most=most)


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 60), max_size=40), st.integers(-50, 400)), max_size=5
    ),
    st.integers(60, 120),
    st.integers(1, 9),
)
def test_windows_partition_the_lists_in_order_within_budget(
    lists: list[tuple[list[int], int]], longest: int, most: int
) -> None:
    lengths, room = [one for one, _ in lists], [left for _, left in lists]
    windows = plan(lengths, room, longest, most)

    documents = [(i, n) for i, one in enumerate(lengths) for n in one]
    bounds = list(zip(windows.offsets[:-1].tolist(), windows.offsets[1:].tolist(), strict=True))
    assert [d for first, last in bounds for d in range(first, last)] == list(range(len(documents)))
    for w, (first, last) in enumerate(bounds):
        query = int(windows.query[w])
        assert {i for i, _ in documents[first:last]} == {query}
        inside = [n for _, n in documents[first:last]]
        assert 1 <= len(inside) <= most
        # One more long document would always have fitted before the last one came in.
        assert all(room[query] - sum(inside[:k]) > longest for k in range(1, len(inside)))
        more_follow = w + 1 < len(bounds) and windows.query[w + 1] == query
        if more_follow:
            assert len(inside) == most or room[query] - sum(inside) <= longest
    assert sorted(set(windows.query.tolist())) == [i for i, one in enumerate(lengths) if one]


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [
        ([10] * 4, 41, [3, 4]),  # 31 and 21 tokens left take another document, 11 do not
        ([10] * 4, 40, [2, 4]),  # nor do 20, as many as the longest has
        ([10] * 4, 20, [1, 2, 3, 4]),  # room for the longest only: alone
        ([0] * 4, -5, [1, 2, 3, 4]),
        ([10] * 7, 10_000, [5, 7]),  # 5 documents at most
    ],
)
def test_a_window_closes_exactly_when_upstream_closes_it(
    lengths: list[int], room: int, expected: list[int]
) -> None:
    assert plan([lengths], [room], 20, 5).offsets[1:].tolist() == expected


def test_full_length_documents_give_63_a_window() -> None:
    windows = plan([[2048] * 130], [131_072 - 2 * 100], 2048, 125)
    assert np.diff(windows.offsets).tolist() == [63, 63, 4]


def naive(vectors: np.ndarray, windows: Windows) -> list[float]:
    """The merge as upstream writes it, list by list."""
    rows = [vectors[a + i : b + i + 1] for i, (a, b) in enumerate(bounds(windows))]
    scores: list[float] = []
    for query in dict.fromkeys(windows.query.tolist()):
        mine = [
            rows_of_window.astype(np.float64)
            for rows_of_window, asked in zip(rows, windows.query, strict=True)
            if asked == query
        ]
        weights = [max((1 + cosine(d, one[-1])) / 2 for d in one[:-1]) for one in mine]
        q = np.average([one[-1] for one in mine], axis=0, weights=weights)
        scores += [cosine(d, q) for one in mine for d in one[:-1]]
    return scores


def bounds(windows: Windows) -> list[tuple[int, int]]:
    return list(zip(windows.offsets[:-1].tolist(), windows.offsets[1:].tolist(), strict=True))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_the_merge_is_upstreams(counts: list[int], seed: int) -> None:
    windows = plan([[1] * n for n in counts], [100] * len(counts), 10, 3)
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.1, 30, size=(sum(counts) + len(windows.query), 1))
    vectors = (rng.normal(size=(len(scale), 6)) * scale).astype(np.float32)
    scores = merged_cosines(vectors, windows)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, naive(vectors, windows), atol=1e-6)


def test_the_merge_is_weighted_and_not_of_normalised_vectors() -> None:
    windows = Windows(np.array([0, 1, 2]), np.array([0, 0]))
    close, far = [4.0, 0.0], [0.0, 1.0]
    vectors = np.array([[1, 0], close, [3, -1], far], dtype=np.float32)
    weights = np.array([1.0, (1 - 1 / np.sqrt(10)) / 2])
    expected = weights @ np.array([close, far]) / weights.sum()
    score = merged_cosines(vectors, windows)[0]
    assert score == pytest.approx(cosine(np.array([1.0, 0.0]), expected), abs=1e-6)
    for wrong in (np.add(close, far), weights @ np.array([[1.0, 0.0], [0.0, 1.0]])):
        assert abs(score - cosine(np.array([1.0, 0.0]), wrong)) > 0.01


def test_zero_vectors_and_zero_weights_stay_finite() -> None:
    windows = Windows(np.array([0, 2, 3]), np.array([0, 1]))
    vectors = np.array([[0, 0], [1, 0], [1, 0], [1, 0], [-1, 0]], dtype=np.float32)
    assert merged_cosines(vectors, windows).tolist() == [0.0, 1.0, -1.0]
    assert merged_cosines(np.zeros((5, 1), np.float32), windows).tolist() == [0.0] * 3


def test_a_nan_concerns_its_own_list_only() -> None:
    windows = Windows(np.array([0, 2, 3, 4]), np.array([0, 0, 1]))
    vectors = np.ones((7, 3), dtype=np.float32)
    vectors[0] = np.nan
    assert np.isnan(merged_cosines(vectors, windows)).tolist() == [True, True, True, False]


def test_no_windows_no_scores() -> None:
    empty = plan([[], []], [9, 9], 3, 3)
    assert len(merged_cosines(np.full((0, 1), np.nan, np.float32), empty)) == 0


def test_the_prompt_is_the_published_one_byte_for_byte() -> None:
    head = prompt.HEAD.encode()
    assert len(head) == 465
    assert hashlib.sha256(head).hexdigest() == (
        "fae486e42a944e6dcd4882c7f13e3181afd749286829ef1132351af2fef668a6"
    )


FRAGMENTS = [
    "<|rerank_", "token|>", "<|embed_", prompt.DOCUMENT_READOUT, prompt.QUERY_READOUT, "x", " ",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_sanitising_leaves_no_readout_token_and_else_does_what_upstream_does(text: str) -> None:
    clean = prompt.sanitise(text)
    assert prompt.DOCUMENT_READOUT not in clean and prompt.QUERY_READOUT not in clean
    once = text.replace(prompt.QUERY_READOUT, "").replace(prompt.DOCUMENT_READOUT, "")
    if prompt.DOCUMENT_READOUT not in once and prompt.QUERY_READOUT not in once:
        assert clean == once


def test_sanitising_removes_the_query_token_first_and_nothing_else() -> None:
    assert prompt.sanitise("<|embed_<|rerank_token|>token|>a") == "a"
    kept = " <|im_end|><think></think><|endoftext|><|score_token|></passage>\n "
    assert prompt.sanitise(kept) == kept


@pytest.mark.parametrize(
    ("over", "truncated"), [(-1, False), (0, False), (1, True)], ids=["below", "equal", "above"]
)
def test_a_text_of_the_limit_or_more_is_decoded_and_a_longer_one_is_cut(
    over: int, truncated: bool
) -> None:
    # "é" as two code points: its ids decode to one, so a decoded text is told from an original.
    text = "e\u0301" + " one two three four"
    ids = TOKENIZER.encode([text]).token_ids
    cut = prompt.cut_texts(TOKENIZER, [text], len(ids) - over)
    assert cut.truncated.tolist() == [truncated]
    assert cut.lengths.tolist() == [len(ids) - max(over, 0)]
    assert cut.texts[0].startswith("e\u0301" if over < 0 else "\u00e9")
    assert (cut.token_ids[0] is None) == (over >= 0)
    if truncated:
        assert text.endswith("four") and not cut.texts[0].endswith("four")


def test_truncation_comes_before_sanitising() -> None:
    text = prompt.DOCUMENT_READOUT * 3 + "a b c"
    cut = prompt.cut_texts(TOKENIZER, [text], 4)
    assert (cut.texts, cut.lengths.tolist()) == (["a"], [4])


def test_a_cut_inside_a_character_gives_the_replacement_character() -> None:
    text = "\U0001f9ff"
    ids = TOKENIZER.encode([text]).token_ids
    assert len(ids) > 1
    assert prompt.cut_texts(TOKENIZER, [text], 1).texts[0].startswith("\ufffd")


@pytest.mark.parametrize("document", ["\nx", "\n\nx", "\r\nx", "\n", "\n<|im_end|>", " \nx", "x\n"])
def test_a_newline_at_the_beginning_merges_with_the_one_before_it(
    document: str, tmp_path: Path
) -> None:
    """Qwen's vocabulary has tokens such as ``>`` with two newlines; the golden's small one has not.

    So they are added to it, as the first merges of all.
    """
    data = json.loads((GOLDEN / "tokenizer.json").read_text("utf-8"))
    new = [("\u010a", "\u010a"), ("\u010a", "\u010d"), (">", "\u010a"), (">\u010a", "\u010a")]
    old = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in data["model"]["merges"]]
    data["model"]["merges"] = [list(m) for m in [*new, *(m for m in old if m not in new)]]
    for i, (left, right) in enumerate(new):
        data["model"]["vocab"].setdefault(left + right, 150_000 + i)
    (tmp_path / "tokenizer.json").write_text(json.dumps(data), "utf-8")
    tokenizer = TextTokenizer(Checkpoint(tmp_path))

    own = prompt.ListwisePrompt(tokenizer, most=5, instruction=None)
    ids, _, positions = own.assemble(
        Windows(np.array([0, 2]), np.array([0])),
        queries=prompt.cut_texts(tokenizer, ["\nq\n"], 99),
        query_of_window=np.array([0]),
        documents=prompt.cut_texts(tokenizer, [document], 99),
        text_of_document=np.array([0, 0]),
    )
    whole = (
        prompt.opening("\nq\n", 2, None)
        + (prompt.PASSAGE_START + document)
        + prompt.separator(1)
        + (prompt.PASSAGE_START + document)
        + prompt.closing("\nq\n")
    )
    assert ids.tolist() == tokenizer.encode([whole]).token_ids.tolist()
    readouts = [tokenizer.library.token_to_id(prompt.DOCUMENT_READOUT)] * 2
    readouts.append(tokenizer.library.token_to_id(prompt.QUERY_READOUT))
    assert ids[positions].tolist() == readouts


def test_a_tokenizer_that_cuts_elsewhere_is_refused() -> None:
    from tokenizers import Regex, pre_tokenizers

    other = TextTokenizer(Checkpoint(GOLDEN))
    # The edit that some libraries make to Qwen's pattern: a slash joins the symbols before it.
    pattern = r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\p{L}+|\s+"
    other.library.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    with pytest.raises(ModelError, match="not Qwen's"):
        prompt.check_tokenizer(other)
