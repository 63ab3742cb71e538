"""Makes ``conf/pricing/rates.yaml`` of ``benchmarks/results``: ``python -m benchmarks.rates``.

Only what this package's engine reached with networks of real size is taken, at the precision that
was measured. Results of peers stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.bench.models.shapes import SHAPES
from pipeline.networks.flops import Network, shape_of
from pipeline.pricing.rates import SHIPPED, Rate, to_yaml

ROOT: Final = Path(__file__).resolve().parents[1]

#: Contenders that are our engine as a run has it, and the precision that their names state.
_OURS: Final = {"packed": None, "ours-bfloat16": "bfloat16", "ours-int8": "int8"}

#: What decides speed besides the machine.
_DECIDING: Final = ("rerank-pipeline", "torch", "transformers", "tokenizers")


def shipped_rates() -> list[Rate]:
    """Rates of every result that has some, by file name."""
    found: list[Rate] = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result.get("model", {}).get("scale") == "real":
            found += _rates(result)
    return found


def _rates(result: Mapping[str, Any]) -> Iterator[Rate]:
    model, work, machine = result["model"], result["workload"], result["machine"]
    config = SHAPES[model["name"]].config_of("real")
    flops = 1e9 * model["gflop_per_document"]
    length = Network.of(config).mean_length(tokens=work["tokens"], flops=flops * work["documents"])
    cuda = result["device"] == "cuda"
    for contender in result["contenders"]:
        if contender["name"] not in _OURS:
            continue
        yield Rate(
            model=model["name"],
            family=model["family"],
            network=shape_of(config),
            device=machine["gpu"] if cuda else machine["cpu"],
            kind=result["device"],
            threads=None if cuda else machine["torch_threads"],
            dtype=_OURS[contender["name"]] or model["dtype"],
            mean_length=round(length, 1),
            flop_per_document=round(flops),
            documents_per_s=round(contender["documents_per_s"], 1),
            tokens_per_s=round(contender["tokens_per_s"]),
            network_documents_per_s=round(contender["network_only"]["documents_per_s"], 1),
            documents_per_cpu_s=None if cuda else round(contender["documents_per_cpu_s"], 1),
            versions={name: result["versions"][name] for name in _DECIDING},
            command=result["command"],
        )


def main() -> None:
    """Write the file."""
    (ROOT / "conf" / SHIPPED).write_text(to_yaml(shipped_rates()), encoding="utf-8")


if __name__ == "__main__":
    main()
