"""The queries of a run that nobody judged, without a list of them all."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.ranking.id_forms import NearIds, canonical, near_ids

Qrels = Mapping[str, Mapping[str, int]]


class Others:
    """The queries of a run without judgements: how many, and those that look like judged ones.

    Filled by several threads while a run is read, so that no list of all its queries is kept.

    Attributes:
        judged: relevance by query id and document id.
        count: of the queries that were noted.
        example: one of them; None where there is none.
    """

    def __init__(self, qrels: Qrels) -> None:
        self.judged = qrels
        self.count = 0
        self.example: str | None = None
        self._canonical = set(canonical(list(qrels)))
        self._near: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, query_ids: Sequence[str] | pa.Array) -> None:
        """Note queries that are not judged, each once."""
        names = query_ids.to_pylist() if isinstance(query_ids, pa.Array) else query_ids
        forms = canonical(query_ids)
        near = [(f, n) for f, n in zip(forms, names, strict=True) if f in self._canonical]
        with self._lock:
            self.count += len(names)
            self.example = min(names, default=self.example)
            for form, name in near:
                self._near[form] = min(name, self._near.get(form, name))

    def near(self, absent: Sequence[str]) -> tuple[NearIds, ...]:
        """Judged queries that a run does not hold, and queries of the run that look like them."""
        pairs = zip(absent, canonical(absent), strict=True)
        return near_ids([(name, self._near[form]) for name, form in pairs if form in self._near])
