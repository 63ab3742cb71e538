"""One collection in every layout that people have, each readable by one command."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execution import staged_input
from pipeline.staging.strategy import Sizes
from tests.makers import WORDS, nested_table, write


@dataclass(frozen=True)
class Collection:
    """Candidate lists with ids only, and what they refer to."""

    queries: dict[str, str]
    corpus: dict[str, tuple[str, str]]
    lists: dict[str, list[tuple[str, float]]]

    def long(self) -> pa.Table:
        """A row per candidate with everything, first-stage ranks as TREC runs have them."""
        rows = [
            {
                "query_id": query_id,
                "query": self.queries[query_id],
                "doc_id": doc_id,
                "title": self.corpus[doc_id][0],
                "text": self.corpus[doc_id][1],
                "first_stage_score": score,
                "first_stage_rank": rank,
            }
            for query_id, candidates in self.lists.items()
            for rank, (doc_id, score) in enumerate(candidates, start=1)
        ]
        kinds = [("query_id", pa.string()), ("query", pa.string()), ("doc_id", pa.string()),
                 ("title", pa.string()), ("text", pa.string()),
                 ("first_stage_score", pa.float64()), ("first_stage_rank", pa.int32())]  # fmt: skip
        return pa.Table.from_pylist(rows, schema=pa.schema(kinds))

    def references(self) -> pa.Table:
        """A row per candidate with ids, score and rank."""
        return self.long().drop_columns(["query", "title", "text"])


def collection(
    queries: int = 20, documents: int = 60, candidates: int = 9, *, seed: int = 0
) -> Collection:
    """A small one that is made up."""
    chance = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))

    corpus = {f"d{d:04d}": (words(3), words(15)) for d in range(documents)}
    named = {f"q{q:04d}": words(4) for q in range(queries)}
    lists = {
        query_id: [
            (doc_id, round(100 - place - chance.random() / 2, 3))
            for place, doc_id in enumerate(chance.sample(sorted(corpus), candidates))
        ]
        for query_id in named
    }
    return Collection(queries=named, corpus=corpus, lists=lists)


def published(path: Path, *, queries: int) -> Collection:
    """The first queries of candidate lists in Parquet, white space in texts made blanks."""
    found = Collection(queries={}, corpus={}, lists={})
    for row in pq.read_table(path).to_pylist():
        query_id, doc_id = str(row["query_id"]), str(row["doc_id"])
        if query_id not in found.queries and len(found.queries) == queries:
            break
        found.queries[query_id] = " ".join(row["query"].split())
        found.corpus[doc_id] = "", " ".join(row["text"].split())
        # As many digits as every format keeps.
        score = float(repr(row["first_stage_score"]))
        found.lists.setdefault(query_id, []).append((doc_id, score))
    return found


def corpus_table(given: Collection) -> pa.Table:
    rows = [{"doc_id": d, "title": t, "text": x} for d, (t, x) in given.corpus.items()]
    return pa.Table.from_pylist(rows)


def queries_table(given: Collection) -> pa.Table:
    return pa.Table.from_pylist([{"query_id": q, "query": t} for q, t in given.queries.items()])


def sorted_long(folder: Path, given: Collection) -> dict[str, Any]:
    return {"path": str(write(folder / "sorted.parquet", given.long(), row_group_size=50))}


def scattered_long(folder: Path, given: Collection) -> dict[str, Any]:
    table = given.long()
    order = list(range(table.num_rows))
    random.Random(1).shuffle(order)
    path = folder / "scattered"
    for part in range(3):
        write(path / f"{part}.parquet", table.take(pa.array(order[part::3])), row_group_size=20)
    return {"path": str(path)}


def nested(folder: Path, given: Collection) -> dict[str, Any]:
    return {"path": str(write(folder / "nested.parquet", nested_table(given.long())))}


def references(folder: Path, given: Collection) -> dict[str, Any]:
    return {
        "path": str(write(folder / "ids.parquet", given.references(), row_group_size=33)),
        "corpus": str(write(folder / "corpus.parquet", corpus_table(given))),
        "queries": str(write(folder / "queries.parquet", queries_table(given))),
    }


def lance_tables(folder: Path, given: Collection) -> dict[str, Any]:
    """Each of several fragments, with rows that were deleted; the corpus written by LanceDB."""
    import lance  # a second of a CPU with LanceDB; drivers take their sizes from this module
    import lancedb

    run, asked = str(folder / "run.lance"), str(folder / "queries.lance")
    lance.write_dataset(given.references(), run, max_rows_per_file=33)
    wrong = pa.table({"query_id": ["q0003", "gone"], "query": ["not this one", "nor this"]})
    lance.write_dataset(wrong, asked)
    lance.write_dataset(queries_table(given), asked, mode="append", max_rows_per_file=7)
    lance.dataset(asked).delete("query IN ('not this one', 'nor this')")
    database = lancedb.connect(folder / "db")
    documents = corpus_table(given)
    table = database.create_table("corpus", documents.slice(0, 20))
    table.add(documents.slice(10))
    table.merge_insert("doc_id").when_matched_update_all().execute(documents.slice(5, 3))
    table.delete("_rowid < 20 AND doc_id >= 'd0010'")
    return {"path": run, "corpus": str(folder / "db" / "corpus.lance"), "queries": asked}


def trec_lines(given: Collection) -> list[str]:
    return [
        f"{query_id} Q0 {doc_id} {rank} {score!r} bm25"
        for query_id, candidates in given.lists.items()
        for rank, (doc_id, score) in enumerate(candidates, start=1)
    ]


def trec(folder: Path, given: Collection) -> dict[str, Any]:
    lines = trec_lines(given)
    documents = [f"{d}\t{f'{title} {body}'.strip()}" for d, (title, body) in given.corpus.items()]
    asked = [f"{q}\t{query}" for q, query in given.queries.items()]
    return {
        "path": str(text(folder / "run.trec", lines)),
        "corpus": str(text(folder / "corpus.tsv", documents)),
        "queries": str(text(folder / "queries.tsv", asked)),
    }


def beir(folder: Path, given: Collection) -> dict[str, Any]:
    place = folder / "beir"
    text(place / "corpus.jsonl", [
        json.dumps({"_id": d, "title": t, "text": x}) for d, (t, x) in given.corpus.items()
    ])  # fmt: skip
    text(place / "queries.jsonl", [
        json.dumps({"_id": q, "text": t}) for q, t in given.queries.items()
    ])  # fmt: skip
    text(place / "run.trec", trec_lines(given))
    return {"path": str(place)}


def text(path: Path, lines: list[str]) -> Path:
    """A file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


Layout = Callable[[Path, Collection], dict[str, Any]]

#: Each writes its files and gives the section ``input`` of a job.
LAYOUTS: dict[str, Layout] = {
    "sorted": sorted_long,
    "scattered": scattered_long,
    "nested": nested,
    "references": references,
    "lance": lance_tables,
    "trec": trec,
    "beir": beir,
}


#: Parts of a few candidates, and nothing in memory at once.
SMALL = Sizes(in_memory=0, part=4_000, shard=2_000)


def small_parts() -> None:
    """A hook of drivers: copies of small collections have several parts, made one by one."""
    staged_input.SIZES = SMALL


def ranked_rows(folder: str) -> pa.Table:
    """Every ranked row of a run, by query and rank."""
    table = pq.ParquetDataset(f"{folder}/ranked").read()
    return table.sort_by([("query_id", "ascending"), ("rank", "ascending")])
