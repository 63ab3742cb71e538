"""Examples of what a run could not score, by reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from pipeline import schema
from pipeline.errors import RerankError
from pipeline.execution.runs.run_files import read_sealed
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts

logger = logging.getLogger("pipeline")

_EXAMPLES: Final = 3
_MOST_FILES: Final = 16
_COLUMNS: Final = (schema.QUERY_ID, schema.DOC_ID, schema.REASON, schema.MESSAGE)


def quarantine_examples(
    folder: RunFolder, units: Iterable[UnitCounts]
) -> dict[str, list[dict[str, Any]]]:
    """Up to three rows of the quarantine by reason: query_id, doc_id and message.

    A few files are read, chosen so that every reason is among them as far as that goes. The
    quarantine holds no text of documents, so its examples hold none either.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    read = 0
    for unit in units:
        if read == _MOST_FILES or all(len(found.get(r, ())) == _EXAMPLES for r in unit.reasons):
            continue
        read += 1
        try:
            rows = read_sealed(folder.quarantine(unit.unit), _COLUMNS).to_pylist()
        except RerankError as error:
            logger.warning("left out of the report: %s", error)
            continue
        for row in rows:
            examples = found.setdefault(row.pop(schema.REASON), [])
            if len(examples) < _EXAMPLES:
                examples.append(row)
    return found
