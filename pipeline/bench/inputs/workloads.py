"""The workloads: how many lists, of how many candidates, of what lengths, repeated how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.bench.inputs.pages import page
from pipeline.bench.inputs.texts import Int64s, Lengths, Writer, lengths, uniforms
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError

Size = Literal["s", "m", "l"]

#: Texts are drawn from streams of their own; a workload is one of a kind.
_QUERIES, _DOCUMENTS, _PLACES, _PAGES = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is scored.

    Attributes:
        query: length table of the queries.
        document: length table of the documents; None where they are pages.
        sizes: by size, lists and candidates of each.
        models: the shapes that it suits; the first is taken unless told otherwise.
        about: one line for people.
    """

    query: str
    document: str | None
    sizes: dict[Size, tuple[int, int]]
    models: tuple[str, ...]
    about: str

    @property
    def model(self) -> str:
        """The shape that it is scored with unless told otherwise."""
        return self.models[0]


_SHORT: Final = ("minilm-l6", "xlmr-base", "jina-v2", "jina-turbo", "jina-tiny", "qwen3-0.6b")
_LONG: Final = ("jina-turbo", "jina-tiny", "jina-v2", "xlmr-base", "qwen3-0.6b")

WORKLOADS: Final[dict[str, Workload]] = {
    "msmarco": Workload(
        query="query",
        document="passage",
        sizes={"s": (4, 50), "m": (100, 100), "l": (2_000, 100)},
        models=_SHORT,
        about="web passages: queries of 7.5 tokens, documents of 75",
    ),
    "doc512": Workload(
        query="query",
        document="page512",
        sizes={"s": (2, 12), "m": (10, 40), "l": (200, 100)},
        models=_SHORT,
        about="documents of 334 tokens on average, 476 at most",
    ),
    "doc1024": Workload(
        query="query",
        document="page1024",
        sizes={"s": (2, 6), "m": (5, 20), "l": (100, 100)},
        models=_LONG,
        about="documents of 667 tokens on average, 988 at most",
    ),
    "list64x100": Workload(
        query="query",
        document="listed100",
        sizes={"s": (1, 64), "m": (2, 64), "l": (64, 64)},
        models=("jina-v3",),
        about="lists of 64 documents of 100 tokens, read together",
    ),
    "list64x250": Workload(
        query="query",
        document="listed250",
        sizes={"s": (1, 64), "m": (2, 64), "l": (24, 64)},
        models=("jina-v3",),
        about="lists of 64 documents of 250 tokens, read together",
    ),
    "list125x100": Workload(
        query="query",
        document="listed100",
        sizes={"s": (1, 125), "m": (2, 125), "l": (24, 125)},
        models=("jina-v3",),
        about="lists of 125 documents of 100 tokens, read together",
    ),
    "yesno": Workload(
        query="query",
        document="answer80",
        sizes={"s": (2, 8), "m": (4, 25), "l": (50, 100)},
        models=("qwen3-0.6b",),
        about="yes/no prompts that share instruction and query, documents of 80 tokens",
    ),
    "page768": Workload(
        query="page_query",
        document=None,
        sizes={"s": (2, 2), "m": (4, 2), "l": (50, 4)},
        models=("jina-m0",),
        about="scanned pages of 768 visual tokens",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A workload that was made.

    Attributes:
        lists: the whole of it.
        distinct: documents that differ.
        reuse: how often each of them is a candidate.
        seed: of its texts.
    """

    lists: CandidateLists
    distinct: int
    reuse: int
    seed: int

    @property
    def documents(self) -> int:
        """Candidates, repeated ones included."""
        return int(self.lists.documents.num_rows)

    def units(self, documents: int) -> Iterator[CandidateLists]:
        """Whole lists in order, cut as a run cuts them: ``documents`` or more in each but the last.

        Raises:
            ConfigurationError: no unit can be that small.
        """
        if documents < 1:
            raise ConfigurationError("units of less than one document; set 1 or more")
        offsets = self.lists.offsets
        first = 0
        while first < len(self.lists):
            last = int(np.searchsorted(offsets, offsets[first] + documents))
            last = min(max(last, first + 1), len(self.lists))
            yield part(self.lists, first, last)
            first = last


def part(lists: CandidateLists, first: int, last: int) -> CandidateLists:
    """The lists from ``first`` to before ``last``."""
    start, stop = int(lists.offsets[first]), int(lists.offsets[last])
    return CandidateLists(
        queries=lists.queries.slice(first, last - first),
        offsets=lists.offsets[first : last + 1] - start,
        documents=lists.documents.slice(start, stop - start),
    )


def make(
    workload: Workload,
    size: Size,
    *,
    reuse: int = 1,
    seed: int = 0,
    tokens: Lengths,
    page_tokens: tuple[int, int] = (32, 24),
    scan: int = 2,
) -> Work:
    """The workload's lists.

    Args:
        workload: one of :data:`WORKLOADS`.
        size: how much of it.
        reuse: in how many lists each document is; lists are added until that comes out even.
        seed: other texts and another order, of the same lengths.
        tokens: of texts, as the model's tokenizer counts them.
        page_tokens: rows and columns of visual tokens of a page.
        scan: see :func:`~pipeline.bench.inputs.pages.page`.
    """
    count, candidates = workload.sizes[size]
    count = reuse * -(-count // reuse)
    distinct = count * candidates // reuse
    writer = Writer(tokens)
    queries = writer.write(lengths(workload.query, count), seed=_stream(seed, _QUERIES))
    content: dict[str, pa.Array]
    if workload.document is None:
        content = _pages(distinct, seed, page_tokens, scan)
    else:
        written = writer.write(lengths(workload.document, distinct), seed=_stream(seed, _DOCUMENTS))
        content = {schema.TEXT: pa.array(written, pa.string())}
    lists = CandidateLists(
        queries=pa.table(
            {
                schema.QUERY_ID: pa.array([f"q{i:06d}" for i in range(count)]),
                schema.QUERY: pa.array(queries, pa.string()),
            }
        ),
        offsets=np.arange(count + 1, dtype=np.int64) * candidates,
        documents=_documents(content, _places(count, candidates, reuse, seed), candidates),
    )
    return Work(lists=lists, distinct=distinct, reuse=reuse, seed=seed)


def _pages(count: int, seed: int, page_tokens: tuple[int, int], scan: int) -> dict[str, pa.Array]:
    rows, columns = page_tokens
    first = _stream(seed, _PAGES)
    pages = [page(first + 8 * i, rows=rows, columns=columns, scan=scan) for i in range(count)]
    return {
        schema.TEXT: pa.nulls(count, pa.string()),
        schema.IMAGE: pa.array(pages, pa.large_binary()),
    }


def _documents(content: dict[str, pa.Array], places: Int64s, candidates: int) -> pa.Table:
    """The candidates of all lists: the documents in ``places``, ranked as they stand."""
    count = len(places)
    taken = {name: column.take(pa.array(places)) for name, column in content.items()}
    ranks = np.tile(np.arange(1, candidates + 1), count // candidates)
    return pa.table(
        {
            schema.DOC_ID: pa.array([f"d{place:07d}" for place in places]),
            schema.TEXT: taken.pop(schema.TEXT),
            schema.FIRST_STAGE_SCORE: pa.nulls(count, pa.float64()),
            schema.FIRST_STAGE_RANK: pa.array(ranks, pa.int32()),
            schema.REASON: pa.nulls(count, pa.string()),
            **taken,
        }
    )


def _places(count: int, candidates: int, reuse: int, seed: int) -> Int64s:
    """int64 [count * candidates]: the document in each place; no list holds one twice.

    Every round deals the whole collection out once, in an order of its own.
    """
    distinct = count * candidates // reuse
    order = uniforms(_stream(seed, _PLACES), reuse * distinct).reshape(reuse, distinct)
    return np.argsort(order, axis=1, kind="stable").reshape(-1).astype(np.int64)


def _stream(seed: int, which: int) -> int:
    return 16 * seed + which
