"""Cross-encoders of transformers against sentence-transformers' CrossEncoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import Ranker, load
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.pairs import sigmoid
from pipeline.rerankers.cross_encoder import CrossEncoder, CrossEncoderSettings
from pipeline.sequences.sequences import Sequences

NAMES = ("bge-reranker-tiny", "ms-marco-minilm-tiny", "mxbai-rerank-tiny")
XLM_R, BERT, DEBERTA = NAMES
TOLERANCE = 1e-4
QUERY = "Organic skincare products for sensitive skin"
LONG = "Eco-friendly aloe vera and chamomile, measured twice. " * 60

Cases = Callable[[str], list[dict[str, Any]]]
PairLists = Callable[[list[tuple[str, str]]], CandidateLists]


@pytest.fixture(scope="module")
def model(goldens: Path) -> Callable[..., Ranker]:
    def build(name: str = BERT, **settings: Any) -> Ranker:
        return load(str(goldens / name), family="cross_encoder", device="cpu", **settings)

    return build


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("activation", "packing"), [("none", "auto"), ("sigmoid", "auto"), ("none", "padded")]
)
def test_predict(
    model: Callable[..., Ranker],
    cases: Cases,
    pair_lists: PairLists,
    name: str,
    activation: str,
    packing: str,
) -> None:
    for case in cases(name):
        options = {"activation": activation, "packing": packing}
        ranker = model(name, max_length=case["max_length"], **options)
        assert ranker.engine.reranker.packed == (packing == "auto")
        lists = pair_lists(case["pairs"])
        sequences = ranker.engine.reranker.encode(lists)
        expected = case["expected"]
        assert sequences.lengths.tolist() == expected["input_lengths"], case["case"]
        first = expected["first_input_ids"]
        assert sequences.token_ids[: sequences.lengths[0]][: len(first)].tolist() == first
        np.testing.assert_allclose(
            ranker.score_lists(lists),
            expected["logits" if activation == "none" else "sigmoid"],
            atol=TOLERANCE,
            rtol=0,
            err_msg=case["case"],
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_logit_unless_asked(model: Callable[..., Ranker], name: str) -> None:
    """CrossEncoder's own default is the sigmoid for two of the three."""
    plain, squashed = model(name), model(name, activation="sigmoid")
    assert (plain.score_scale, squashed.score_scale) == ("logit", "probability")
    np.testing.assert_allclose(
        sigmoid(plain.score(QUERY, ["a", LONG])), squashed.score(QUERY, ["a", LONG]), atol=1e-6
    )


def test_the_published_tokenizer_file_is_followed(model: Callable[..., Ranker]) -> None:
    """Its normaliser folds these; transformers' DeBERTa-v2 class keeps some of them apart."""
    encode = model(DEBERTA).engine.reranker.encode
    for odd, plain in [
        ("\ufb01ne", "fine"),
        ("\u00a0a\u00a0b", "a b"),
        ("\uff46\uff55\uff4c\uff4c", "full"),
    ]:
        ids = [encode(CandidateLists.from_texts("q", [text])).token_ids for text in (odd, plain)]
        assert ids[0].tolist() == ids[1].tolist()


def test_token_types_where_the_model_has_them(model: Callable[..., Ranker]) -> None:
    lists = CandidateLists.from_texts("one", ["two two"])
    types = model(BERT).engine.reranker.encode(lists).segment_ids
    assert types is not None
    assert set(types.tolist()) == {0, 1}
    assert model(XLM_R).engine.reranker.encode(lists).segment_ids is None
    assert model(DEBERTA).engine.reranker.encode(lists).segment_ids is None


def test_who_gives_way_in_a_pair_that_is_too_long(model: Callable[..., Ranker]) -> None:
    """<s> query </s></s> document </s> in 40 tokens, with a query and a document of more each."""

    def lengths(truncation: str) -> list[int]:
        ranker = model(XLM_R, max_length=40, truncation=truncation)
        ids = split(ranker.engine.reranker.encode(CandidateLists.from_texts(LONG, [LONG])))[0]
        end = ids.index(2)
        return [end - 1, len(ids) - end - 3]

    assert lengths("longest_first") == [18, 18]
    assert lengths("flag_embedding") == [30, 6]
    assert lengths("document") == [36, 0]


def test_long_documents(model: Callable[..., Ranker]) -> None:
    lists = CandidateLists.from_texts(QUERY, ["short", LONG])
    document = model().engine.reranker.tokenizer.encode([LONG]).token_ids.tolist()  # type: ignore[attr-defined]

    def ids(policy: str, **settings: Any) -> tuple[list[int], list[list[int]], Sequences]:
        encode = model(max_length=100, long_documents=policy, **settings).engine.reranker.encode
        sequences = encode(lists)
        _, *long = split(sequences)
        prefix = long[0][: long[0].index(3) + 1]
        assert all(s[: len(prefix)] == prefix and s[-1] == 3 for s in long)
        return prefix, [s[len(prefix) : -1] for s in long], sequences

    prefix, (cut,), sequences = ids("truncate")
    room = 100 - len(prefix) - 1
    assert cut == document[:room]
    assert sequences.links["truncated"].tolist() == [0, 1]

    _, (cut,), sequences = ids("head_tail")
    assert cut == document[: room - room // 2] + document[-(room // 2) :]
    assert sequences.links["truncated"].tolist() == [0, 1]

    _, chunks, sequences = ids("chunk", chunk_overlap=7)
    assert chunks[0] == document[:room]
    assert chunks[1] == document[room - 7 : 2 * room - 7]
    assert chunks[-1] == document[-room:]
    assert sequences.links["truncated"].tolist() == [0, 0]
    assert sequences.links["n_tokens"].tolist() == [sequences.lengths[0], 100 * len(chunks)]


@pytest.mark.parametrize("name", NAMES)
def test_the_best_chunk_counts(model: Callable[..., Ranker], name: str) -> None:
    engine = model(name, max_length=64, long_documents="chunk").engine
    lists = CandidateLists.from_texts(QUERY, ["short", LONG, "", LONG[:700]])
    sequences, readouts = engine.run(lists, engine.reranker.encode(lists))
    first = np.searchsorted(np.cumsum(sequences.lengths), np.cumsum(sequences.links["n_tokens"]))
    parts = np.split(readouts.values[:, 0], first[:-1] + 1)
    assert [len(part) > 1 for part in parts] == [False, True, False, True]
    best = engine.reranker.decode(lists, sequences, readouts.values)
    np.testing.assert_array_equal(best, [part.max() for part in parts])


def test_a_long_query_leaves_half_of_the_room_to_chunks(model: Callable[..., Ranker]) -> None:
    encode = model(max_length=43, long_documents="chunk").engine.reranker.encode
    long, short = (
        split(encode(CandidateLists.from_texts(LONG, [text])))[0] for text in (LONG, "a")
    )
    assert long.index(3) == 21  # [CLS] and 20 of 40 tokens
    assert short.index(3) == 40  # one token is all that the document needs
    assert len(long) == len(short) == 43


@pytest.mark.parametrize("policy", ["truncate", "head_tail", "chunk"])
@pytest.mark.parametrize("truncation", ["longest_first", "document", "flag_embedding"])
def test_the_smallest_sequences(model: Callable[..., Ranker], policy: str, truncation: str) -> None:
    ranker = model(XLM_R, max_length=8, long_documents=policy, truncation=truncation)
    lists = CandidateLists.from_texts(LONG, ["", "a", LONG[:300]])
    assert ranker.engine.reranker.encode(lists).lengths.max() == 8
    assert np.isfinite(ranker.score_lists(lists)).all()


@pytest.mark.parametrize("name", NAMES)
def test_batches_do_not_move_scores(model: Callable[..., Ranker], name: str) -> None:
    documents = ["aloe", LONG, "", "vera " * 90, "before <pad> [PAD] after </s> [SEP] end"]
    alone = np.concatenate([model(name, token_budget=1).score(QUERY, [text]) for text in documents])
    for budget in (1, 1000, 10**6):
        together = model(name, token_budget=budget).score(QUERY, documents[::-1])[::-1]
        np.testing.assert_allclose(together, alone, atol=2e-5, rtol=0)


@pytest.mark.parametrize("policy", ["truncate", "head_tail", "chunk"])
def test_no_documents(model: Callable[..., Ranker], policy: str) -> None:
    assert model(long_documents=policy).score(QUERY, []).tolist() == []


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("packing", ["packed", "padded"])
def test_modernbert(goldens: Path, tmp_path: Path, pooling: str, packing: str) -> None:
    """A random one, against transformers' own class on unpadded input."""
    import torch
    from safetensors.torch import save_file
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    torch.manual_seed(7)
    config = ModernBertConfig(
        vocab_size=1400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        local_attention=16,
        pad_token_id=0,
        bos_token_id=2,
        cls_token_id=2,
        eos_token_id=3,
        sep_token_id=3,
        num_labels=1,
        classifier_pooling=pooling,
        initializer_range=0.5,
    )
    network = ModernBertForSequenceClassification(config).eval()
    folder = tmp_path / "modernbert"
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(config.to_json_string(), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(goldens / BERT / name, folder / name)
    ranker = load(str(folder), family="cross_encoder", device="cpu", packing=packing)
    documents = ["aloe vera", LONG, "", "chamomile " * 40]
    ids = split(ranker.engine.reranker.encode(CandidateLists.from_texts(QUERY, documents)))
    with torch.inference_mode():
        wanted = [network(torch.tensor([row])).logits.item() for row in ids]
    np.testing.assert_allclose(ranker.score(QUERY, documents), wanted, atol=TOLERANCE)
    assert np.ptp(wanted) > 1e-2


def test_what_cannot_be_packed_says_so(goldens: Path, tmp_path: Path) -> None:
    """A convolution reaches over the end of a sequence."""
    folder = shutil.copytree(goldens / DEBERTA, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"conv_kernel_size": 3}))
    with pytest.raises(ConfigurationError, match=r"engine\.packing.*without padding"):
        load(str(folder), family="cross_encoder", device="cpu", packing="packed")


@pytest.mark.parametrize("name", ["jina-reranker-v1-tiny-tiny", "jina-reranker-v2-tiny"])
def test_checkpoints_with_code_of_their_own_are_refused(goldens: Path, name: str) -> None:
    """JinaBERT says model_type 'bert'; transformers would score with random weights."""
    with pytest.raises(ModelError, match="code of its own"):
        CrossEncoder(checkpoint=Checkpoint(goldens / name), settings=CrossEncoderSettings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"id2label": {"0": "no", "1": "yes"}}, "2 labels"),
        ({"position_embedding_type": "alibi"}, "family of its own"),
    ],
)
def test_other_networks_are_refused(
    goldens: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(goldens / BERT, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        CrossEncoder(checkpoint=Checkpoint(folder), settings=CrossEncoderSettings())


def split(sequences: Sequences) -> list[list[int]]:
    ends = zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    return [sequences.token_ids[start:end].tolist() for start, end in ends]
