"""What an evaluation saw and did not see, as lines below its table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.ranking.chance import Chance
from pipeline.ranking.coverage import Coverage, warnings


def joined_lines(found: Sequence[Coverage], chance: Chance | None = None) -> Iterator[str]:
    """Counts of what judgements and runs have in common, and a warning for all that is missed.

    Args:
        found: of each run that was evaluated, once.
        chance: what its measure is by judgements of other queries.
    """
    for each in found:
        yield f"{each.run}: holds lists of {_share(each.held, each.queries)} judged queries"
        yield (
            f"{each.run}: in them {_share(each.judged_found, each.judged)} judged documents, "
            f"{_share(each.relevant_found, each.relevant)} relevant ones"
        )
        yield from (f"{each.run}: {warning}" for warning in warnings(each))
    if chance is not None and chance.alike:
        yield (
            f"warning: by the judgements of other queries {chance.measure} is "
            f"{chance.swapped:.4f}, and by their own, {chance.own:.4f}, no better than chance: are "
            "these the judgements of this collection?"
        )


def joined_json(found: Sequence[Coverage], chance: Chance | None) -> dict[str, Any]:
    """The same as plain data: ``runs``, each with the fields of its coverage, and ``chance``."""
    runs = [asdict(each) for each in found]
    for run in runs:
        del run["examples"]
    return {"runs": runs, "chance": None if chance is None else asdict(chance)}


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"
