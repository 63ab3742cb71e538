"""What a workload asks of a network: tokens, operations, and the digest that tells it apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline import schema
from pipeline.bench.preparing import PAGES, Prepared
from pipeline.networks.flops import image_flops, text_flops
from pipeline.sequences.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Of a whole workload.

    Attributes:
        tokens: of all prompts.
        tokens_shared: where what prompts have in common counts once.
        flops: useful operations for all prompts and, for each candidate, its page.
        flops_shared: the same where beginnings and a unit's pages count once.
        digest: see :func:`digest`.
    """

    tokens: int
    tokens_shared: int
    flops: float
    flops_shared: float
    digest: str


def count(prepared: Prepared) -> Counts:
    """Encode the workload once more, and count."""
    config = prepared.subject.shape.config_of(prepared.subject.scale)
    encoded = [prepared.engine.reranker.encode(lists) for lists in prepared.units]
    whole = [unit.unshared() for unit in encoded]
    return Counts(
        tokens=sum(int(unit.lengths.sum()) for unit in whole),
        tokens_shared=sum(int(unit.lengths.sum()) for unit in encoded),
        flops=sum(text_flops(config, unit) for unit in whole)
        + _page_flops(config, prepared, distinct=False),
        flops_shared=sum(text_flops(config, unit) for unit in encoded)
        + _page_flops(config, prepared, distinct=True),
        digest=digest(encoded),
    )


def _page_flops(config: dict[str, Any], prepared: Prepared, *, distinct: bool) -> float:
    """Operations for the pages: once for every candidate, or once for each of a unit."""
    if schema.IMAGE not in prepared.work.lists.documents.column_names:
        return 0.0
    rows, columns = PAGES[prepared.subject.scale][0]
    images = sum(
        len(unit.documents.column(schema.IMAGE).unique()) if distinct else unit.documents.num_rows
        for unit in prepared.units
    )
    return image_flops(config, patches=4 * rows * columns, images=images)


def digest(sequences: Iterable[Sequences]) -> str:
    """blake2b over the token ids and the lengths of what is read, however cut into units."""
    ids, lengths = hashlib.blake2b(digest_size=8), hashlib.blake2b(digest_size=8)
    for unit in sequences:
        whole = unit.unshared()
        ids.update(whole.token_ids.astype("<i4").tobytes())
        lengths.update(whole.lengths.astype("<i8").tobytes())
    return hashlib.blake2b(ids.digest() + lengths.digest(), digest_size=8).hexdigest()
