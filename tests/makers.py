"""Inputs that tests are made from."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["ray", "data", "reads", "ranks", "scores", "queries", "documents", "units", "files"]


def long_table(queries: int = 12, documents: int = 7, *, seed: int = 0) -> pa.Table:
    """A long table of ``queries`` lists with up to ``documents`` candidates each."""
    chance = random.Random(seed)
    rows = [
        {
            "query_id": f"q{q:03d}",
            "query": " ".join(chance.sample(WORDS, 3)),
            "doc_id": f"d{d}",
            "text": " ".join(chance.choices(WORDS, k=chance.randint(1, 12))),
            "first_stage_score": round(chance.uniform(0, 30), 3),
        }
        for q in range(queries)
        for d in range(chance.randint(1, documents))
    ]
    by_query = {row["query_id"]: row["query"] for row in rows}
    for row in rows:
        row["query"] = by_query[row["query_id"]]
    return pa.Table.from_pylist(rows)


def nested_table(table: pa.Table) -> pa.Table:
    """The same lists with one row per query."""
    lists: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in table.to_pylist():
        key = (row.pop("query_id"), row.pop("query"))
        lists.setdefault(key, []).append(row)
    return pa.Table.from_pylist(
        [{"query_id": q, "query": text, "candidates": c} for (q, text), c in lists.items()]
    )


def write(path: Path, table: pa.Table, *, row_group_size: int | None = None) -> Path:
    """A Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def write_parts(folder: Path, table: pa.Table, parts: int, *, row_group_size: int = 5) -> Path:
    """The rows in order over ``parts`` files; queries may continue in the next file."""
    edges = [table.num_rows * i // parts for i in range(parts + 1)]
    for i in range(parts):
        piece = table.slice(edges[i], edges[i + 1] - edges[i])
        write(folder / f"part-{i:03d}.parquet", piece, row_group_size=row_group_size)
    return folder


def overflowing(checkpoint: Path, folder: Path, *, word: str) -> Path:
    """A copy of an encoder whose score for a text with ``word`` is a number in float32 alone.

    The word's embedding is past the largest number of float16, and the norm behind it makes
    ordinary values of it where there is room for it.
    """
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    shutil.copytree(checkpoint, folder)
    tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(
        word, add_special_tokens=False
    )
    state = load_file(folder / "model.safetensors")
    [embeddings] = [name for name in state if name.endswith("word_embeddings.weight")]
    state[embeddings][tokens.ids[-1]] *= 1e7
    save_file(state, folder / "model.safetensors")
    return folder
