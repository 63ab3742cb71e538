"""jina-reranker-v3 against upstream's scores, and against a reference written from its spec."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import api, schema
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints import cards
from pipeline.engine.rounds import Readouts
from pipeline.engine.scoring import document_scores
from pipeline.errors import ModelError
from pipeline.sequences.sequences import Sequences

GOLDEN = Path(__file__).parents[1] / "goldens" / "jina-reranker-v3"
CASES = [json.loads(line) for line in (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines()]
BY_ID = {case["id"]: case for case in CASES}
ERRORS = [
    json.loads(line) for line in (GOLDEN / "upstream_errors.jsonl").read_text("utf-8").splitlines()
]
DOCUMENT, QUERY = 151670, 151671
TAIL = "\n</query><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@cache
def ranker(folder: Path = GOLDEN, budget: int | None = None, **settings: Any) -> api.Ranker:
    return api.load(
        str(folder),
        family="jina_v3",
        dtype="float32",
        device="cpu",
        token_budget=budget,
        **settings,
    )


def of_case(case: dict[str, Any], **options: Any) -> api.Ranker:
    asked = {k: v for k, v in case["kwargs"].items() if k != "top_n"}
    if "model_max_length" in case["overrides"]:
        asked["max_length"] = case["overrides"]["model_max_length"]
    return ranker(**asked, **options)


def unit(lists: list[tuple[str, list[str]]]) -> CandidateLists:
    """Several lists in one unit."""
    single = [CandidateLists.from_texts(query, list(texts)) for query, texts in lists]
    return CandidateLists(
        queries=pa.concat_tables([one.queries for one in single]),
        offsets=np.append(0, np.cumsum([len(texts) for _, texts in lists])).astype(np.int64),
        documents=pa.concat_tables([one.documents for one in single]),
    )


def encoded(one: api.Ranker, query: str, documents: list[str]) -> Sequences:
    return one.engine.reranker.encode(CandidateLists.from_texts(query, list(documents))).unshared()


def sequence(sequences: Sequences, window: int) -> list[int]:
    return sequences.token_ids[slice(*sequences.offsets[window : window + 2])].tolist()


class Reference:
    """The model from its spec, the slow and plain way: strings, whole prompts, a search for ids."""

    def __init__(self) -> None:
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import Qwen3Config, Qwen3Model

        self.tokenizer = Tokenizer.from_file(str(GOLDEN / "tokenizer.json"))
        tensors = {k: v.float() for k, v in load_file(GOLDEN / "model.safetensors").items()}
        config = json.loads((GOLDEN / "config.json").read_text("utf-8"))
        self.body = Qwen3Model(Qwen3Config(**config)).eval()
        body = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        self.body.load_state_dict(body, strict=True)
        self.first, self.second = tensors["projector.0.weight"], tensors["projector.2.weight"]
        self.torch = torch

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, limit: int) -> tuple[str, int]:
        ids = self.ids(text)[:limit]
        if len(ids) >= limit:
            text = self.tokenizer.decode(ids, skip_special_tokens=False)
        while "<|rerank_token|>" in text or "<|embed_token|>" in text:
            text = text.replace("<|rerank_token|>", "").replace("<|embed_token|>", "")
        return text, len(ids)

    @staticmethod
    def prompt(query: str, documents: list[str], instruction: str | None = None) -> str:
        passages = "".join(
            f'<passage id="{i}">\n{text}<|embed_token|>\n</passage>\n'
            for i, text in enumerate(documents)
        )
        instruct = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
        return (
            "<|im_start|>system\nYou are a search relevance expert who can determine a ranking of "
            "the passages based on how relevant they are to the query. If the query is a question, "
            "how relevant a passage is depends on how well it answers the question. If not, try to "
            "analyze the intent of the query and assess how well each passage satisfies the "
            "intent. If an instruction is provided, you should follow the instruction when "
            "determining the ranking.<|im_end|>\n<|im_start|>user\n"
            f"I will provide you with {len(documents)} passages, each indicated by a numerical "
            "identifier. Rank the passages based on their relevance to query: "
            f"{query}\n{instruct}{passages}<query>\n{query}<|rerank_token|>{TAIL}"
        )

    def prompts(
        self,
        query: str,
        documents: list[str],
        *,
        max_doc_length: int = 2048,
        max_query_length: int = 512,
        max_length: int = 131_072,
        instruction: str | None = None,
    ) -> list[str]:
        asked, used = self.cut(query, max_query_length)
        room = max_length - 2 * used
        windows: list[list[str]] = []
        window: list[str] = []
        left = room
        for text, tokens in (self.cut(document, max_doc_length) for document in documents):
            window.append(text)
            left -= tokens
            if len(window) >= 125 or left <= max_doc_length:
                windows.append(window)
                window, left = [], room
        return [self.prompt(asked, w, instruction) for w in [*windows, window] if w]

    def scores(self, query: str, documents: list[str], **settings: Any) -> np.ndarray:
        torch = self.torch
        texts: list[Any] = []
        asked: list[Any] = []
        weights: list[float] = []
        for prompt in self.prompts(query, documents, **settings):
            ids = torch.tensor([self.ids(prompt)])
            with torch.inference_mode():
                hidden = self.body(input_ids=ids, attention_mask=torch.ones_like(ids))[0][0]
                vectors = torch.relu(hidden @ self.first.T) @ self.second.T
            q, d = vectors[ids[0] == QUERY], vectors[ids[0] == DOCUMENT]
            assert len(q) == 1
            weights.append(float((1 + torch.cosine_similarity(d, q)).max() / 2))
            texts += d
            asked.append(q[0].numpy())
        merged = torch.tensor(np.average(asked, axis=0, weights=weights)).float()
        return torch.cosine_similarity(torch.stack(texts), merged[None]).numpy()


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.mark.parametrize("case", CASES, ids=list(BY_ID))
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_upstreams_scores(case: dict[str, Any], packing: str) -> None:
    scores = of_case(case, packing=packing).score(case["query"], case["documents"])
    expected = case["expected"]
    if expected["scores_by_index"] is not None:
        np.testing.assert_allclose(scores, expected["scores_by_index"], atol=1e-4)
    for result in expected["results"] or ():
        assert scores[result["index"]] == pytest.approx(result["relevance_score"], abs=1e-4)
    ours = {int(index): place for place, index in enumerate(np.argsort(-scores, kind="stable"))}
    for better, worse in zip(expected["order"], expected["order"][1:], strict=False):
        if abs(scores[better] - scores[worse]) > 1e-4:
            assert ours[better] < ours[worse]


@pytest.mark.parametrize("case", CASES, ids=list(BY_ID))
def test_upstreams_windows_and_prompts(case: dict[str, Any], reference: Reference) -> None:
    one = of_case(case)
    sequences = encoded(one, case["query"], case["documents"])
    family: Any = one.engine.reranker
    asked = {
        "max_doc_length": family.max_doc_length,
        "max_query_length": family.max_query_length,
        "max_length": family.max_length,
    }
    prompts = reference.prompts(case["query"], case["documents"], **asked)
    blocks = case["expected"]["blocks"]
    assert len(sequences) == len(prompts) == len(blocks)
    assert np.diff(sequences.links["window_offsets"]).tolist() == [b["n_docs"] for b in blocks]
    tail = reference.ids(TAIL)
    for window, (prompt, block) in enumerate(zip(prompts, blocks, strict=True)):
        assert hashlib.sha256(prompt.encode()).hexdigest() == block["prompt_sha256"]
        ids = sequence(sequences, window)
        assert ids + tail == reference.ids(prompt)
        assert len(ids) + len(tail) == block["n_tokens"]


def test_the_trace_of_the_cards_example() -> None:
    trace = json.loads((GOLDEN / "trace_card_example.json").read_text("utf-8"))
    case = BY_ID[trace["case"]]
    one = ranker()
    lists = CandidateLists.from_texts(case["query"], case["documents"])
    sequences = one.engine.reranker.encode(lists).unshared()
    ids = sequence(sequences, 0)
    assert ids == trace["input_ids"][: trace["query_position"] + 1]
    positions = [*trace["doc_positions"], trace["query_position"]]
    assert sequences.readout_positions.tolist() == positions
    assert [ids[p] for p in positions] == [DOCUMENT] * 6 + [QUERY]
    _, readouts = one.engine.run(lists, sequences)
    expected = np.array([*trace["doc_embeds"], trace["query_embed"]])
    np.testing.assert_allclose(readouts.values, expected, atol=1e-4)


@pytest.mark.parametrize("case", ERRORS, ids=[case["id"] for case in ERRORS])
def test_what_upstream_fails_on(case: dict[str, Any], reference: Reference) -> None:
    """An empty list has no scores; nested readout tokens are removed to the last."""
    scores = ranker().score(case["query"], case["documents"])
    assert len(scores) == len(case["documents"]) and np.isfinite(scores).all()
    if case["documents"]:
        clean = [text.replace("<|rerank_<|embed_token|>token|>", "") for text in case["documents"]]
        query = case["query"].replace("<|rerank_<|embed_token|>token|>", "")
        np.testing.assert_allclose(scores, reference.scores(query, clean), atol=1e-5)


@pytest.mark.parametrize("budget", [1, 900, 60_000])
def test_batch_size_and_neighbours_do_not_move_scores(budget: int) -> None:
    small = {"max_length": 1024, "max_doc_length": 128, "max_query_length": 32}
    names = ["one_doc", "multilingual_28", "all_docs_empty", "window_1024_docs_40", "empty_query"]
    lists: list[tuple[str, list[str]]] = [("nothing to rank", [])]
    for name in names:
        lists += [(BY_ID[name]["query"], BY_ID[name]["documents"]), ("", [])]
    alone = [ranker(**small).score(query, texts) for query, texts in lists]
    for step in (1, -1):
        together = ranker(budget=budget, **small).score_lists(unit(lists[::step]))
        np.testing.assert_allclose(together, np.concatenate(alone[::step]), atol=1e-5)


SPECIAL = [
    token["content"]
    for token in json.loads((GOLDEN / "tokenizer.json").read_text("utf-8"))["added_tokens"]
]
NASTY = [
    *SPECIAL, "\n", "\r\n", "\n\n", " ", "\t", "\x00", "\u00a0", "\u2028", "/", "'s", "'", '">',
    "</passage>", "42", "id", "a", "Z", "e\u0301", "\u0301", "\u0338", "\u200d", "\u7eff\u8336",
    "\u0628", "\ufffd", "\U0001f469\u200d\U0001f467", "\U0002070e", "\U000e0041", "\U0010fffd",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(NASTY), max_size=8).map("".join)


@given(
    TEXTS,
    st.lists(TEXTS, min_size=1, max_size=4),
    st.one_of(st.none(), TEXTS),
    st.sampled_from([3, 9, 500]),
)
@settings(max_examples=200)
def test_pieces_tokenise_as_the_whole_prompt_does(
    reference: Reference, query: str, documents: list[str], instruction: str | None, limit: int
) -> None:
    limits = {"max_doc_length": limit, "max_query_length": limit}
    family = type(ranker().engine.reranker)
    own: Any = family(
        checkpoint=ranker().engine.reranker.checkpoint,
        settings=family.Settings(**limits, instruction=instruction),
    )
    sequences = own.encode(CandidateLists.from_texts(query, list(documents))).unshared()
    clean = None if instruction is None else reference.cut(instruction, 10**6)[0]
    (prompt,) = reference.prompts(query, documents, **limits, instruction=clean)
    ids = sequence(sequences, 0)
    assert ids + reference.ids(TAIL) == reference.ids(prompt)
    found = np.flatnonzero(np.isin(ids, [DOCUMENT, QUERY]))
    assert sequences.readout_positions.tolist() == found.tolist()


def test_texts_of_special_tokens_score_as_the_spec_says(reference: Reference) -> None:
    documents = ["".join(SPECIAL), *SPECIAL, "\n" + "\n".join(SPECIAL), "plain"]
    query = " ".join(SPECIAL)
    expected = reference.scores(query, documents)
    np.testing.assert_allclose(ranker().score(query, documents), expected, atol=1e-5)


def test_an_instruction_is_put_before_the_passages_and_sanitised(reference: Reference) -> None:
    query, documents = "green tea", ["green tea is healthy", "coffee"]
    one = ranker(instruction="Prefer <|embed_token|>sources\n")
    expected = reference.scores(query, documents, instruction="Prefer sources\n")
    np.testing.assert_allclose(one.score(query, documents), expected, atol=1e-5)
    assert np.abs(one.score(query, documents) - ranker().score(query, documents)).max() > 1e-4
    assert ranker(instruction="").score(query, documents).tolist() == (
        ranker().score(query, documents).tolist()
    )


def test_limits_are_upstreams_by_default(reference: Reference) -> None:
    family: Any = ranker().engine.reranker
    assert (family.max_doc_length, family.max_query_length) == (2048, 512)
    assert family.max_length == 131_072
    long = "tea " * 600
    for limits in ({"max_doc_length": 100}, {"max_query_length": 100}):
        expected = reference.scores(long, [long, "tea"], **limits)
        np.testing.assert_allclose(ranker(**limits).score(long, [long, "tea"]), expected, atol=1e-5)


def test_scores_depend_on_the_list_as_the_model_does(reference: Reference) -> None:
    """One prompt per list and not per pair: duplicates do not tie, and order matters."""
    documents = ["green tea", "coffee", "green tea"]
    scores = ranker().score("tea", documents)
    assert abs(scores[0] - scores[2]) > 1e-4
    assert abs(ranker().score("tea", documents[1:])[1] - scores[2]) > 1e-4
    ties = ranker().score_lists(unit([("tea", documents), ("tea", documents)]))
    np.testing.assert_allclose(ties[:3], ties[3:], atol=1e-6)


def test_long_documents_and_what_is_said_of_them() -> None:
    documents = ["", "tea", "green tea " * 25_000, "\U0001f375" * 30]
    sequences = encoded(ranker(), "tea", documents)
    tokens = ranker().engine.reranker.tokenizer.encode(documents).lengths  # type: ignore[attr-defined]
    assert tokens[2] >= 50_000
    assert sequences.links[schema.N_TOKENS].tolist() == np.minimum(tokens, 2048).tolist()
    assert sequences.links[schema.TRUNCATED].tolist() == [0, 0, 1, 0]
    assert np.isfinite(ranker().score("tea", documents)).all()


@pytest.mark.parametrize("count", [0, 1, 300])
def test_lists_of_any_size(count: int) -> None:
    scores = ranker().score("tea", [f"passage {i}" for i in range(count)])
    assert scores.shape == (count,) and scores.dtype == np.float32
    assert np.isfinite(scores).all() and (np.abs(scores) <= 1 + 1e-6).all()


def test_sequences_survive_their_carrier() -> None:
    lists = unit([("tea", ["a", "b"]), ("", []), ("coffee", ["c"])])
    one = ranker()
    sequences = one.engine.reranker.encode(lists).unshared()
    again = Sequences.from_ipc(sequences.to_ipc())
    _, readouts = one.engine.run(lists, again)
    scores = one.engine.reranker.decode(lists, again, readouts.values)
    # Beginnings are written out here, so that batches hold other rows.
    np.testing.assert_allclose(scores, one.score_lists(lists), rtol=0, atol=2e-5)


def test_a_window_too_large_for_memory_rejects_its_list_and_no_other() -> None:
    lists = unit([("tea", ["a", "b"]), ("coffee", ["c"])])
    one = ranker()
    sequences, readouts = one.engine.run(lists, one.engine.reranker.encode(lists))
    values = readouts.values.copy()
    values[:3] = np.nan
    lost = Readouts(values=values, too_large=np.array([0]))
    scores, codes = document_scores(one.engine.reranker, lists, sequences, lost)
    assert np.isnan(scores).tolist() == [True, True, False]
    assert codes.tolist() == ["out_of_memory", "out_of_memory", None]
    none = Readouts(values=np.full((5, 1), np.nan, np.float32), too_large=np.array([0, 1]))
    _, codes = document_scores(one.engine.reranker, lists, sequences, none)
    assert codes.tolist() == ["out_of_memory"] * 3


def linked(folder: Path, *own: str) -> Path:
    """The golden with some files of its own and links for the rest."""
    for path in GOLDEN.iterdir():
        if path.name in own:
            shutil.copy(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
    return folder


def tensors_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def save(folder: Path, tensors: dict[str, Any]) -> api.Ranker:
    from safetensors.torch import save_file

    (folder / "model.safetensors").unlink()
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return api.load(str(folder), family="jina_v3", dtype="float32", device="cpu")


def test_the_projectors_sizes_are_those_of_its_tensors(tmp_path: Path) -> None:
    tensors = tensors_of(linked(tmp_path))
    rows = tensors["projector.2.weight"].shape[0]
    assert rows == 512
    tensors["projector.2.weight"] = tensors["projector.2.weight"][:256]
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()  # carries nothing
    one = save(tmp_path, tensors)
    lists = CandidateLists.from_texts("tea", ["a", "b"])
    _, readouts = one.engine.run(lists, one.engine.reranker.encode(lists))
    _, whole = ranker().engine.run(lists, ranker().engine.reranker.encode(lists))
    assert readouts.values.shape == (3, 256) and whole.values.shape == (3, 512)
    np.testing.assert_allclose(readouts.values, whole.values[:, :256], atol=1e-5)


@pytest.mark.parametrize("name", ["projector.0.weight", "model.norm.weight"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    tensors = tensors_of(linked(tmp_path))
    del tensors[name]
    with pytest.raises(ModelError, match=f"missing tensor '{name}'"):
        save(tmp_path, tensors)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "qwen2"}, "runs qwen3"),
        ({"use_sliding_window": True}, "without layer_types"),
        ({"layer_types": ["sliding_attention"] * 3}, "sliding_window is None, expected"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = linked(tmp_path, "config.json") / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed), "utf-8")
    with pytest.raises(ModelError, match=message):
        api.load(str(tmp_path), family="jina_v3", dtype="float32", device="cpu")


def test_a_tokenizer_without_readout_tokens_is_refused(tmp_path: Path) -> None:
    path = linked(tmp_path, "tokenizer.json") / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("<|rerank_token|>", "<|other|>"), "utf-8")
    with pytest.raises(ModelError, match="rerank_token"):
        api.load(str(tmp_path), family="jina_v3", dtype="float32", device="cpu")


@pytest.mark.parametrize(("value", "limit"), [(64, 64), (10**30, 131_072), (None, 131_072)])
def test_the_tokenizers_limit_is_the_budget(tmp_path: Path, value: Any, limit: int) -> None:
    path = linked(tmp_path, "tokenizer_config.json") / "tokenizer_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text("utf-8")) | {"model_max_length": value}), "utf-8"
    )
    family: Any = api.build_reranker(
        api.ModelConfig(family="jina_v3", weights=str(tmp_path), settings={})
    )
    assert family.max_length == limit


def test_heads_stay_in_float32_in_a_bfloat16_network() -> None:
    import torch

    one = api.load(str(GOLDEN), family="jina_v3", dtype="bfloat16", device="cpu")
    network: Any = one.engine.reranker.network  # type: ignore[attr-defined]
    assert network["model"].norm.weight.dtype == torch.bfloat16
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    network["projector"][0].register_forward_hook(
        lambda _, arguments, output: seen.append((arguments[0].dtype, output.dtype))
    )
    case = BY_ID["card_example"]
    scores = one.score(case["query"], case["documents"])
    assert set(seen) == {(torch.float32, torch.float32)}
    np.testing.assert_allclose(scores, case["expected"]["scores_by_index"], atol=0.1)


def test_the_card() -> None:
    card = cards.read("jina-reranker-v3")
    assert (card.family, card.score_scale) == ("jina_v3", ranker().score_scale)
