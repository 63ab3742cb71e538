"""A collection that changes from night to night: texts, candidates and queries."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.makers import WORDS, write

#: Words that no document has in the first night, so that a text that is made of them is new.
FRESH = ["index", "night", "delta", "feed", "gate", "shard", "merge", "stale"]


@dataclass(frozen=True)
class Document:
    title: str
    text: str

    @property
    def shown(self) -> str:
        """Title and text as they are joined for a model; empty ones are left out."""
        return " ".join(part for part in (self.title, self.text) if part)


@dataclass(frozen=True)
class Collection:
    """Queries and documents by id, and which documents are the candidates of which query."""

    queries: dict[str, str]
    documents: dict[str, Document]
    lists: dict[str, tuple[str, ...]]

    def table(self) -> pa.Table:
        """The candidates in the long layout, in the order of the lists."""
        rows = [
            {
                "query_id": query_id,
                "query": self.queries[query_id],
                "doc_id": doc_id,
                "title": self.documents[doc_id].title,
                "text": self.documents[doc_id].text,
                "first_stage_score": float(len(doc_ids) - place),
            }
            for query_id, doc_ids in self.lists.items()
            for place, doc_id in enumerate(doc_ids)
        ]
        return pa.Table.from_pylist(rows)

    def write(self, path: Path) -> Path:
        """As Parquet with several row groups."""
        return write(path, self.table(), row_group_size=97)

    def pairs(self) -> set[tuple[str, str]]:
        """What a pointwise model may be shown: the text of a query and of one of its documents."""
        return {
            (self.queries[query_id], document.shown)
            for query_id, doc_ids in self.lists.items()
            for document in (self.documents[doc_id] for doc_id in doc_ids)
        }

    def with_texts(self, share: float, *, seed: int) -> Collection:
        """The texts of some documents are others."""
        chosen = _some(self.documents, share, seed)
        changed = {
            doc_id: replace(self.documents[doc_id], text=_text(seed * 10_000 + number, FRESH))
            for number, doc_id in enumerate(chosen)
        }
        return replace(self, documents=self.documents | changed)

    def with_text(self, doc_id: str, text: str) -> Collection:
        """The text of one document is another."""
        changed = replace(self.documents[doc_id], text=text)
        return replace(self, documents=self.documents | {doc_id: changed})

    def with_title(self, doc_id: str, title: str) -> Collection:
        """The title of one document is another, and nothing else."""
        changed = replace(self.documents[doc_id], title=title)
        return replace(self, documents=self.documents | {doc_id: changed})

    def with_candidates(self, *, added: int, removed: int, seed: int) -> Collection:
        """Some lists have candidates more, others fewer."""
        chance = random.Random(seed)
        lists = dict(self.lists)
        for query_id in chance.sample(sorted(lists), added):
            others = sorted(set(self.documents) - set(lists[query_id]))
            lists[query_id] = (*lists[query_id], chance.choice(others))
        for query_id in chance.sample(sorted(lists), removed):
            lists[query_id] = lists[query_id][:-1] or lists[query_id]
        return replace(self, lists=lists)

    def with_queries(self, *, added: int, removed: int, seed: int) -> Collection:
        """Some queries are new, others are asked no more."""
        chance = random.Random(seed)
        gone = set(chance.sample(sorted(self.lists), removed))
        new = {f"new-{seed}-{number}": _text(seed * 77 + number, WORDS) for number in range(added)}
        lists = {name: doc_ids for name, doc_ids in self.lists.items() if name not in gone}
        for name in new:
            lists[name] = tuple(chance.sample(sorted(self.documents), 6))
        queries = {name: text for name, text in self.queries.items() if name not in gone} | new
        return replace(self, queries=queries, lists=lists)

    def reordered(self, *, seed: int) -> Collection:
        """The first stage has found the same documents in another order."""
        chance = random.Random(seed)
        shuffled = {name: tuple(chance.sample(ids, len(ids))) for name, ids in self.lists.items()}
        return replace(self, lists=shuffled)


def generated(queries: int = 30, documents: int = 80, *, seed: int = 0) -> Collection:
    """Lists of 4 to 12 candidates out of one small corpus."""
    chance = random.Random(seed)
    corpus = {
        f"d{number:03d}": Document(
            title=" ".join(chance.sample(WORDS, 2)), text=_text(seed * 1_000 + number, WORDS)
        )
        for number in range(documents)
    }
    lists = {
        f"q{number:03d}": tuple(chance.sample(sorted(corpus), chance.randint(4, 12)))
        for number in range(queries)
    }
    asked = {name: f"{_text(hash_of(name), WORDS)} {name}" for name in lists}
    return Collection(queries=asked, documents=corpus, lists=lists)


def real(path: Path, *, queries: int) -> Collection:
    """The first queries of a collection of ../shared/data, without titles of its own."""
    table = pq.read_table(path, columns=["query_id", "query", "doc_id", "text"])
    asked: dict[str, str] = {}
    corpus: dict[str, Document] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for row in table.to_pylist():
        name = row["query_id"]
        if name not in lists and len(lists) == queries:
            break
        asked[name] = row["query"]
        corpus.setdefault(row["doc_id"], Document(title="", text=row["text"]))
        lists[name] = (*lists.get(name, ()), row["doc_id"])
    return Collection(queries=asked, documents=corpus, lists=lists)


def hash_of(name: str) -> int:
    return sum(place * ord(letter) for place, letter in enumerate(name, start=1))


def _text(seed: int, words: list[str]) -> str:
    chance = random.Random(seed)
    return " ".join([*chance.choices(words, k=chance.randint(3, 12)), f"t{seed}"])


def _some(names: Iterable[str], share: float, seed: int) -> list[str]:
    ordered = sorted(names)
    return random.Random(seed).sample(ordered, max(1, round(share * len(ordered))))
