"""Whether the first stage's order is better than a model's, as far as an earlier run tells."""

from __future__ import annotations

from typing import Any, Final

from pipeline.errors import InputContractError, NotFoundError
from pipeline.execution.preparation import Prepared
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.identity import score_fingerprint
from pipeline.execution.runs.judged_orders import judged_orders
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.comparison import compare
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.qrels import read_qrels
from pipeline.storage.store import read_bytes

_MEASURE: Final = "nDCG@10"


def earlier_order(prepared: Prepared, qrels: str) -> dict[str, Any]:
    """Both orders of the last run in ``output.path`` by judgements, if it is of the same model.

    Returns:
        ``run``, ``measure``, ``queries``, ``first_stage``, ``reranked`` and ``p_value``; all but
        ``why`` null where no such run is there, and ``why`` says so.

    Raises:
        InputContractError: the judgements are not right, or their ids are not the run's.
        NotFoundError: there are none.
    """
    nothing = dict.fromkeys(("run", "measure", "queries", "first_stage", "reranked", "p_value"))
    judged = read_qrels(read_bytes(qrels), qrels)  # what is wrong with it is said in any case
    folder = _last_run(prepared)
    if folder is None:
        return nothing | {
            "why": f"no run of this model lies in {prepared.config.output.path}, so nothing tells "
            "which order is better; `rerank compare` scores a sample and says so"
        }
    orders = judged_orders(folder, judged)
    orders.coverage.refuse()
    before, after = (evaluate(order, judged, [_MEASURE]) for order in orders.all[:2])
    [difference] = compare(before, after).measures
    return {
        "run": folder.path,
        "measure": _MEASURE,
        "queries": before.queries,
        "first_stage": before.means[_MEASURE],
        "reranked": after.means[_MEASURE],
        "p_value": difference.p_randomization,
        "why": None,
    }


def warning_of(found: dict[str, Any]) -> str | None:
    """A sentence where the first stage's order is the better one, or where nothing tells."""
    if found["why"] is not None:
        return f"order: {found['why']}"
    if found["reranked"] >= found["first_stage"]:
        return None
    chance = "" if found["p_value"] is None else f" (p = {found['p_value']:.2g})"
    return (
        f"order: in {found['run']} the first stage had {found['measure']} "
        f"{found['first_stage']:.4f} and this model {found['reranked']:.4f} over "
        f"{found['queries']:,} judged queries{chance}; output.fusion may use both, `rerank "
        "compare` finds a better model"
    )


def _last_run(prepared: Prepared) -> RunFolder | None:
    """The published run of ``output.path`` that counts, where its scores are those of this job."""
    try:
        folder = find_run(prepared.config.output.path)
        described = folder.describe()
    except (NotFoundError, InputContractError):
        return None
    same = described.get("score_fingerprint") == score_fingerprint(prepared.model)
    return folder if same and folder.finished() else None
