"""A forecast as plain data; ``docs/cost.md`` names the keys."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

from pipeline.forecast.estimates import CONFIDENCE, Estimate
from pipeline.forecast.forecast import Forecast
from pipeline.forecast.money import DeviceForecast
from pipeline.forecast.sample import Sample
from pipeline.forecast.subject import Subject
from pipeline.sequences.lengths import LengthHistogram

#: Longest sequence of each row of the table of lengths.
_ROWS: Final = (0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 2**14, 2**16, 2**20)


def plain(forecast: Forecast) -> dict[str, Any]:
    """A forecast as ``rerank plan --json`` has it."""
    subject = forecast.subject
    found: dict[str, Any] = {
        "documents": subject.plan.documents,
        "documents_to_score": round(subject.documents_left),
        "reuse_share": subject.reused,
        "currency": forecast.prices.currency,
        "prices": list(forecast.prices.origins),
        "devices": [_device(one) for one in forecast.devices],
        "warnings": list(forecast.warnings),
    }
    if forecast.sample is None:
        return found | {"sample": None, "why": forecast.why}
    return found | _sampled(forecast.sample, subject)


def _sampled(sample: Sample, subject: Subject) -> dict[str, Any]:
    """What a sample tells, as plain data."""
    planned, units = subject.plan.documents, len(subject.plan.units)
    per_document = sample.per_document(lambda piece: piece.tokens)
    histogram = LengthHistogram.of(sample.lengths)
    known_cuts = all(piece.truncated is not None for piece in sample.pieces)
    return {
        "sample": {
            "documents": sample.documents,
            "pieces": len(sample.pieces),
            "whole_units": sample.whole_units,
            "confidence": CONFIDENCE,
        },
        "units": units,
        "queries": _of(sample.per_document(lambda piece: piece.queries).times(planned)),
        "tokens_per_document": _of(per_document),
        "tokens": _of(per_document.times(planned)),
        "tokens_to_score": _of(per_document.times(subject.documents_left)),
        "truncated_share": _of(sample.per_document(lambda piece: piece.truncated or 0))
        if known_cuts
        else None,
        "duplicate_share": _of(sample.per_document(lambda piece: piece.duplicates)),
        "repeated_share": sample.repeated,
        "lengths": {
            "quantiles": {f"{q:g}": sample.quantile(q) for q in (0.5, 0.9, 0.99, 1.0)},
            "shares": [
                {"above": above, "upto": upto, **_of(sample.share_of_sequences(above, upto))}
                for above, upto in pairwise(_ROWS)
                if sample.share_of_sequences(above, upto).value
            ],
            "tail_share": sample.tail_share,
            "histogram": histogram.as_dict(),
        },
        "output_bytes": _of(sample.output_bytes(units)),
    }


def _of(estimate: Estimate) -> dict[str, float | None]:
    return {"value": estimate.value, "margin": estimate.margin}


def _device(device: DeviceForecast) -> dict[str, Any]:
    return {
        **asdict(device.speed),
        "count": device.count,
        "here": device.here,
        "documents_per_s": list(device.documents_per_s),
        "hours": list(device.hours),
        "seconds": list(device.seconds),
        "cost": None if device.cost is None else list(device.cost),
        "cpu_seconds": device.cpu_seconds,
    }
