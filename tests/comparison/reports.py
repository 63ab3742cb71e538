"""A report of a comparison by hand, for what shows one."""

from __future__ import annotations

from typing import Any


def order(mean: float) -> dict[str, Any]:
    """The part that judgements give."""
    return {
        "measures": {"nDCG@10": {"mean": mean, "interval": [mean - 0.1, mean + 0.1]}},
        "judged_at_10": 0.5,
        "beside_baseline": {"nDCG@10": {"difference": mean - 0.5, "p_holm": 0.0004}},
    }


def model(name: str, mean: float, pace: float) -> dict[str, Any]:
    """A model with one measure."""
    speed = {
        "documents_per_s": pace, "least": pace / 2, "most": pace * 2, "times_the_first": pace / 100,
        "tokens_per_s": 50 * pace, "tokens_per_document": 50.0, "measured_s": 9.0,
    }  # fmt: skip
    return {
        "name": name, "model": {"family": "cross_encoder"}, "documents": 200, "cut": 20,
        "not_scored": {"not_finite": 3}, "speed": speed,
    } | order(mean)  # fmt: skip


def report(*models: dict[str, Any], gpu: str | None = None) -> dict[str, Any]:
    """Of models that are all compared with the first stage, and not with each other."""
    found = {"difference": 0.1, "interval": [-0.05, 0.25], "p_randomization": 0.2, "p_holm": None}
    return {
        "input": {
            "path": ["in.parquet"], "queries": 90, "sampled_queries": 60, "seed": 1,
            "documents": 200,
        },
        "device": "cpu" if gpu is None else "cuda",
        "machine": {"cpu": "a processor", "torch_threads": 2} | ({"gpu": gpu} if gpu else {}),
        "baseline": "first_stage",
        "measures": ["nDCG@10"],
        "judged_queries": 60,
        "first_stage": order(0.5) | {"beside_baseline": {}},
        "models": list(models),
        "pairs": [
            {
                "first": "first_stage", "second": one["name"], "measures": {"nDCG@10": found},
                "agreement": {"rbo": 0.25, "overlap": 0.5, "tau": -0.125},
            }
            for one in models
        ],
        "warnings": ["one thing"],
    }  # fmt: skip
