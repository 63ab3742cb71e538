"""Elasticsearch, 7.10 and later: bulk files, and an alias that shows one generation at a time."""

from __future__ import annotations

from pipeline.outputs.feeds.support.bulk_index import BulkIndex


class Elasticsearch(BulkIndex):
    """An alias of Elasticsearch."""
