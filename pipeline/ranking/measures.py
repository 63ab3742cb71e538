"""Which measures can be asked for, by their names.

They are those of ir_measures, computed by trec_eval; nDCG has linear gains (Järvelin and
Kekäläinen 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipeline.errors import ConfigurationError
from pipeline.extras import library
from pipeline.ranking.qrels import MAX_RELEVANCE

#: Measures of one ranking. The library has more, but those count, need Perl, or end the process
#: on a parameter that they do not like.
SUPPORTED: Final = ("nDCG", "RR", "AP", "R", "P", "Success", "Rprec", "Bpref", "Judged")
EXAMPLES: Final = "nDCG@10, RR@10, R@100, AP@100, RR(rel=2)@10"


def parse_measures(names: Sequence[str]) -> list[Any]:
    """ir_measures' measures for names such as ``nDCG@10``, ``RR(rel=2)@10``, ``Recall@100``.

    Aliases become the library's name (``Recall@100`` is ``R@100``, ``MRR@10`` is ``RR@10``), and
    what is asked for twice comes once.

    Raises:
        ConfigurationError: no measure, an unknown or unsupported one, a wrong parameter, or
            ir_measures is not installed.
    """
    if not names:
        raise ConfigurationError(f"no measure given; examples: {EXAMPLES}")
    return list({repr(measure): measure for measure in map(_parse_measure, names)}.values())


def by_provider(measures: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Measures by who computes them: the first of trec_eval and two written in Python."""
    ir_measures = _ir_measures()
    providers = (ir_measures.pytrec_eval, ir_measures.judged, ir_measures.msmarco)
    first = {m: next((p for p in providers if p.supports(m)), None) for m in measures}
    found = [(p, [m for m in measures if first[m] is p]) for p in providers]
    return [(provider, supported) for provider, supported in found if supported]


def _parse_measure(name: str) -> Any:
    hint = f"expected one of {', '.join(SUPPORTED)}, for example {EXAMPLES}"
    try:
        measure = _ir_measures().parse_measure(name.strip())
        wrong = _wrong_parameter(measure)
    except (ValueError, NameError, TypeError, KeyError, AssertionError) as error:
        raise ConfigurationError(
            f"measure '{name}' is unknown or lacks a parameter; {hint}"
        ) from error
    if wrong:
        raise ConfigurationError(f"measure '{name}': {wrong}; {hint}")
    return measure


def _wrong_parameter(measure: Any) -> str | None:
    """What trec_eval would not survive, or not compute; it aborts the process on a cutoff of 0."""
    if measure.NAME not in SUPPORTED:
        return "not supported"
    measure.validate_params()
    for key in ("cutoff", "rel"):
        value = measure.params.get(key, 1)
        if isinstance(value, bool) or not 1 <= value < 2**31:
            return f"{key} must be at least 1 and below 2**31"
    if any(not 0 <= gain <= MAX_RELEVANCE for gain in measure.params.get("gains", {}).values()):
        return f"gains must be from 0 to {MAX_RELEVANCE}"
    return None if by_provider([measure]) else "these parameters are not supported"


def _ir_measures() -> Any:
    return library("ir_measures", extra="eval", needed_by="evaluation")
