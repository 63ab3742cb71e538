"""A bench as a measured rate, for `rerank plan` on this machine."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final

from pipeline.bench.inputs.workloads import WORKLOADS
from pipeline.bench.preparing import Prepared
from pipeline.bench.results import BenchResult
from pipeline.errors import ConfigurationError
from pipeline.networks.flops import Network, shape_of
from pipeline.pricing.rates import Rate, record

#: What decides speed besides the machine.
_DECIDING: Final = ("rerank-pipeline", "torch", "transformers", "tokenizers", "triton")


def refuse_unrecordable(workload: str, scale: str) -> None:
    """Refuse to record what says nothing of a run over texts; before anything is measured.

    Raises:
        ConfigurationError: the network is tiny, or the workload has pages.
    """
    if scale != "real":
        raise ConfigurationError("--record: a tiny network says nothing about speed; drop --shape")
    if WORKLOADS[workload].document is None:
        raise ConfigurationError(
            f"--record: the workload {workload} has pages, and plans are made for texts alone"
        )


def record_rate(prepared: Prepared, result: BenchResult, *, command: str) -> Path:
    """Write the rate into the user's file of rates; returns the file.

    Raises:
        ConfigurationError: the file is wrong, or cannot be written.
    """
    return record(rate_of(prepared, result, command=command))


def rate_of(prepared: Prepared, result: BenchResult, *, command: str) -> Rate:
    """What a bench measured, as a rate."""
    facts, engine, subject = result.facts, result.engine, prepared.subject
    config = subject.shape.config_of(subject.scale)
    work, flops = facts.workload, 1e9 * facts.model.gflop_per_document
    cuda = facts.device == "cuda"
    network = engine.network_only
    own = subject.shape.model is not None
    return Rate(
        model=subject.shape.name,
        family=subject.shape.family,
        network=shape_of(config),
        digest=prepared.engine.reranker.checkpoint.digest if own else "",  # type: ignore[attr-defined]
        device=facts.machine["gpu"] if cuda else facts.machine["cpu"],
        kind=prepared.options.device,
        threads=None if cuda else facts.machine["torch_threads"],
        dtype=subject.dtype,
        mean_length=round(
            Network.of(config).mean_length(tokens=work.tokens, flops=flops * work.documents), 1
        ),
        flop_per_document=round(flops),
        documents_per_s=round(engine.documents_per_s, 2),
        tokens_per_s=round(engine.tokens_per_s),
        network_documents_per_s=None if network is None else round(network.documents_per_s, 2),
        documents_per_cpu_s=None if cuda else round(engine.documents_per_cpu_s, 2),
        versions={name: facts.versions[name] for name in _DECIDING if name in facts.versions},
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=command,
    )
