"""A comparison's result by hand, with round numbers."""

from __future__ import annotations

from typing import Any


def contender(name: str, *, seconds: float, ours: bool = False) -> dict[str, Any]:
    spread = {"median": seconds, "least": 0.8 * seconds, "most": 1.25 * seconds}
    stage = {"wall_s": seconds / 2, "cpu_s": seconds / 4}
    return {
        "name": name,
        "about": "",
        "ours": ours,
        "wall_s": spread,
        "cpu_s": spread,
        "documents_per_s": 1_000 / seconds,
        "documents_per_cpu_s": 1_000 / seconds,
        "tokens_per_s": 86_000 / seconds,
        "mfu": 0.5 / seconds,
        "mfu_cpu": 0.6 / seconds,
        "padding_waste": 0.0 if ours else 0.181,
        "stages": {"encode": stage, "forward": stage} if ours else {},
        "network_only": {
            "documents_per_s": 2_000.0,
            "documents_per_cpu_s": 4_000.0,
            "mfu": 0.75,
            "mfu_cpu": 0.8,
        }
        if ours
        else None,
        "device_busy": 0.5 if ours else None,
        "device_starved": 0.5 if ours else None,
        "peak_rss_bytes": 512 * 2**20,
        "peak_device_bytes": 0,
    }


def bench_result(*, rounds: int = 3, scale: str = "real") -> dict[str, Any]:
    """Ours, one peer that is half as fast, and one whose scores differ."""

    def ratio(value: float) -> dict[str, float] | None:
        if rounds < 3:
            return None
        return {"median": value, "least": value - 0.25, "most": value + 0.5}

    return {
        "command": "python -m benchmarks.compare",
        "workload": {
            "name": "msmarco", "about": "", "size": "m", "seed": 0, "lists": 10,
            "documents": 1_000, "distinct_documents": 1_000, "reuse": 1, "unit_documents": 5_000,
            "tokens": 86_000, "tokens_shared": 86_000, "digest": "0123456789abcdef",
        },
        "model": {
            "name": "minilm-l6", "family": "cross_encoder", "scale": scale, "weights": "random",
            "dtype": "float32", "parameters": 22_713_601, "gflop_per_document": 1.9,
        },
        "device": "cpu",
        "rounds": rounds,
        "peak": {"flop_per_s": 1e11, "flop_per_cpu_s": 1e11, "product": "2048^3 float32"},
        "base": "packed",
        "contenders": [
            contender("packed", seconds=1.0, ours=True),
            contender("st-predict", seconds=2.0),
            contender("other", seconds=0.5),
        ],
        "ratios": [
            {"name": "st-predict", "wall": ratio(2.0), "cpu": ratio(2.0),
             "wall_to_network_only": ratio(4.0)}
        ],
        "tolerance": 1e-4,
        "not_compared": ["other"],
        "agreement": [
            {"first": "packed", "second": "st-predict", "most": 6e-7, "overlap": 1.0, "tau": 1.0},
            {"first": "packed", "second": "other", "most": None, "overlap": 0.2, "tau": 0.1},
        ],
        "host": {
            "cpu_s_per_1000_documents": {"encode": 0.2, "carry": 0.01},
            "object_store_bytes_per_document": 464.0,
        },
        "machine": {"cpu": "A processor", "logical_cpus": 2, "torch_threads": 1},
        "versions": {"python": "3.11.7"},
        "load_average": {"before": [0.1, 0.2, 0.3], "after": [1.0, 0.5, 0.4]},
    }  # fmt: skip
