"""A copy that is made in this process, part by part: without Ray, for debugging."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.staging.survey import ShardRuns, survey_shard
from pipeline.staging.work import Record, Work, make_hashed, make_range, read_lookup


class InProcess:
    """One shard, or one part, after the other."""

    def surveys(self, work: Work) -> Iterator[ShardRuns]:
        """What the shards of the candidates say, in order."""
        for shard in work.candidates:
            yield survey_shard(work.sources.candidates, shard)

    def records(self, work: Work, todo: list[int]) -> Iterator[Record]:
        """Parts in order; all candidates are read for each part of a shuffle."""
        strategy = work.strategy
        corpus = None if strategy.by_document else read_lookup(work.sources.corpus, work)
        queries = None if strategy.by_query else read_lookup(work.sources.queries, work)
        make = make_hashed if strategy.kind == "shuffle" else make_range
        for number in todo:
            yield make(number, work, corpus, queries)
