"""Canonical rows, written out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.distillation.rules import canonical
from pipeline.distillation.sets.check import list_files
from pipeline.distillation.sets.folder import SetFolder

DESCRIPTION: dict[str, Any] = {
    "set_id": "0123456789abcdef",
    "teachers": [
        {
            "name": "teacher",
            "revision": "r1",
            "digest": "d1",
            "licence": "Apache-2.0",
            "score_scale": "logit",
            "run_id": "run1",
        }
    ],
    "combination": {"method": "mean"},
    "rules": {"negatives": {"num_negatives": 2}},
    "split": "train",
    "counts": {"queries": 0, "positives": 0, "negatives": 0},
}
RULES = DESCRIPTION["rules"]


def item(doc_id: str, score: float | None, **fields: Any) -> dict[str, Any]:
    """A document whose text is made of its id, unless ``fields`` say otherwise."""
    return {
        "doc_id": doc_id,
        "text": f"text of {doc_id}",
        "image": None,
        "image_uri": None,
        "score": score,
        "relevance": None,
        "rank": None,
        "source": "teacher",
    } | fields


def query(
    query_id: str,
    positives: Sequence[dict[str, Any]],
    negatives: Sequence[dict[str, Any]],
    **fields: Any,
) -> dict[str, Any]:
    return {
        "query_id": query_id,
        "query": f"query {query_id}",
        "query_image": None,
        "positives": list(positives),
        "negatives": list(negatives),
    } | fields


def part(*rows: dict[str, Any]) -> pa.Table:
    """Rows as a part of the canonical set."""
    return pa.Table.from_pylist(list(rows), schema=canonical.SCHEMA)


def plain() -> pa.Table:
    """Two queries as any miner leaves them, the second with two positives."""
    return part(
        query("q1", [item("a", 5.0)], [item("b", 1.5), item("c", -2.25)]),
        query("q2", [item("d", 3.0), item("b", 0.1)], [item("e", -1.0), item("f", -4.0)]),
    )


def awkward() -> pa.Table:
    """One query for every way in which something cannot be exported, beside one that can."""
    return part(
        query("good", [item("a", 5.0)], [item("b", 1.0), item("c", 0.5), item("d", 0.25)]),
        query("few", [item("a", 5.0)], [item("b", 1.0)]),
        query("none", [item("a", 5.0)], []),
        query("unscored", [item("e", None, relevance=1)], [item("b", 1.0), item("c", 0.5)]),
        query("wordless", [item("a", 5.0)], [item("b", 1.0)], query=None),
        query(
            "pictured",
            [
                item("page", 2.0, text=None, image=b"png"),
                item("both", 1.5, image_uri="s3://x/y.png"),
            ],
            [
                item("uri", 1.0, text=None, image_uri="s3://x/z.png"),
                item("b", 0.5),
                item("c", 0.25),
            ],
            query_image={"bytes": b"png", "path": None},
        ),
    )


def small_set(folder: Path) -> Path:
    """A finished set of two units and both splits, lists of several lengths."""
    for place in range(2):
        for split in canonical.SPLITS:
            rows = part(
                *(
                    query(
                        f"q{place}{split}{n}",
                        [item("p", 2.0), item("o", 1.5)][: 1 + n % 2],
                        [item("n", 1.0), item("m", -0.5), item("l", -2.5)][: 2 + n % 2],
                    )
                    for n in range(4)
                )
            )
            path = Path(canonical.part_path(str(folder), split, place))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(canonical.part_bytes(rows, DESCRIPTION | {"split": split}))
    return publish_set(folder)


def publish_set(folder: Path) -> Path:
    """Publish a set whose parts are there."""
    made = SetFolder(str(folder))
    made.describe({"set_id": DESCRIPTION["set_id"]})
    paths = [path for split in canonical.SPLITS for path in canonical.part_paths(made.path, split)]
    made.publish({**DESCRIPTION, "files": list_files(made, paths)})
    return folder


def tiny_checkpoint(folder: Path) -> str:
    """A BERT with random weights whose vocabulary is single characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)
