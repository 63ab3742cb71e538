"""The page in a run's folder, written when a session ends; a run never fails for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pipeline.errors import RerankError
from pipeline.execution.report.contents import contents, gathered
from pipeline.execution.runs.run_folder import REPORT_PAGE, RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.store import write_whole

logger = logging.getLogger("pipeline")


def looked_at(
    folder: RunFolder, described: Mapping[str, Any], units: Collection[UnitCounts]
) -> dict[str, Any]:
    """As :func:`~pipeline.execution.report.contents.gathered`; nothing where that does not work."""
    try:
        return gathered(folder, described, units)
    except Exception as error:  # whatever it is: the run's own outcome is what matters now
        logger.warning("the report says nothing of scores and ranks: %s", _said(error))
        return {}


def write_page(
    folder: RunFolder,
    described: Mapping[str, Any],
    units: Collection[UnitCounts],
    report: Mapping[str, Any],
    *,
    state: str,
    planned: tuple[int, int],
    fence: Callable[[], None],
) -> None:
    """Write ``report.html``, or say why there is none.

    Args:
        folder: the run.
        described: content of its ``run.json``.
        units: its committed units.
        report: content of its ``report.json``.
        state: of the run, see :mod:`pipeline.reports.page.advice`.
        planned: units and documents of its plan.
        fence: called before it is written; raises where this driver may write no more.
    """
    try:
        from pipeline.reports.page.render import render  # with jinja2, which planning does not need

        data = contents(folder, described, units, report, state=state, planned=planned)
        page = render(data).encode("utf-8", "backslashreplace")
        fence()
        write_whole(folder.file(REPORT_PAGE), page)
    except Exception as error:  # as above
        logger.warning("no %s was written: %s", REPORT_PAGE, _said(error))
        return
    logger.info("report: %s", folder.file(REPORT_PAGE))


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, RerankError) else f"{type(error).__name__}: {error}"
