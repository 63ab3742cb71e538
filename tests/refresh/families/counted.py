"""A pointwise family that writes down what it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline import schema
from pipeline.config import Settings
from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists


class CountedSettings(Settings):
    """Where it is written."""

    log: str = Field(description="A file; one JSON array of query and text per line.")


class Counted(Lexical):
    """Word overlap; every pair that is scored leaves a line."""

    Settings = CountedSettings

    def encode(self, lists: CandidateLists) -> Sequences:
        queries = lists.queries.column(schema.QUERY).take(lists.query_of_document).to_pylist()
        texts = lists.documents.column(schema.TEXT).to_pylist()
        with Path(self.settings.log).open("a", encoding="utf-8") as log:
            log.writelines(json.dumps(pair) + "\n" for pair in zip(queries, texts, strict=True))
        return super().encode(lists)
