"""OpenSearch, 2.8 and later: bulk files, and an alias that shows one generation at a time.

A bulk request, a clone and an alias are what they are in Elasticsearch. ``must_exist`` of an alias
action is not, before 2.12, so it is not used.
"""

from __future__ import annotations

from pipeline.outputs.feeds.support.bulk_index import BulkIndex


class OpenSearch(BulkIndex):
    """An alias of OpenSearch."""
