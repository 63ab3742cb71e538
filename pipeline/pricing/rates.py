"""Measured rates: how fast a network was on a device, by whom it was measured and with what.

A rate is of whole passes, texts to scores, in one process; where the network's own pace was taken
as well, both bound what a run reaches that encodes on other CPUs meanwhile. Of texts of another
length it tells by its operations per second, which depend on how long the sequences are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import ConfigurationError
from pipeline.pricing.user_files import RATES, read
from pipeline.resources import conf_path

#: Below ``conf/``; made of benchmarks/results by `python -m benchmarks.rates`.
SHIPPED: Final = "pricing/rates.yaml"

_HEAD: Final = """\
# Measured rates, for `rerank plan`; docs/cost.md names the keys. `rerank bench --record` adds some.
"""


class Rate(Settings):
    """How fast one network was on one device."""

    model: str = Field(description="Name of the network's shape, or of the model's card.")
    family: str = Field(description="That encoded the prompts.")
    network: str = Field(
        description="Sizes that decide what a token costs, see pipeline.networks.flops.shape_of."
    )
    digest: str = Field("", description="Of the checkpoint, as in run.json; empty: random weights.")
    device: str = Field(description="Name of the GPU, or of the processor.")
    kind: Literal["cpu", "cuda"] = Field(description="What the network ran on.")
    threads: int | None = Field(None, ge=1, description="Of torch, on CPU.")
    dtype: str = Field(description="Precision of the network's body.")
    mean_length: float = Field(
        gt=0, description="Tokens that a token's sequence has on average: sum of squares over sum."
    )
    flop_per_document: float = Field(gt=0, description="By formula, prompts counted whole.")
    documents_per_s: float = Field(gt=0, description="Whole passes, texts to scores.")
    tokens_per_s: float = Field(gt=0, description="The same in tokens that the network read.")
    network_documents_per_s: float | None = Field(
        None, gt=0, description="The network alone, as it is where other CPUs encode."
    )
    documents_per_cpu_s: float | None = Field(
        None,
        gt=0,
        description="Whole passes by CPU time, on CPU: what others did on the machine meanwhile "
        "counts little in it.",
    )
    versions: dict[str, str] = Field(description="Of what decides speed.")
    date: str = Field("", description="Day of the measurement, YYYY-MM-DD, where it is known.")
    command: str = Field(description="That measured it.")

    @property
    def flop_per_s(self) -> float:
        """Useful operations per second of whole passes."""
        return self.flop_per_document * self.documents_per_s

    @property
    def flop_per_cpu_s(self) -> float | None:
        """The same per CPU-second, where that was taken."""
        per_s = self.documents_per_cpu_s
        return None if per_s is None else self.flop_per_document * per_s

    @property
    def network_flop_per_s(self) -> float:
        """Of the network alone, where that was taken; else of whole passes.

        Never less than of those, which hold it: two measurements on a machine that is busy may say
        so, and would turn a range around.
        """
        return self.flop_per_document * max(
            self.network_documents_per_s or 0.0, self.documents_per_s
        )


class RateFile(Settings):
    """A file of rates: ``conf/pricing/rates.yaml``, or one of the user's own."""

    rates: tuple[Rate, ...] = Field(description="In any order.")


@dataclass(frozen=True, kw_only=True)
class Known:
    """A rate, and which file holds it.

    Attributes:
        rate: as it was measured.
        origin: the file.
        own: whether it is the user's.
    """

    rate: Rate
    origin: str
    own: bool


def load_rates(environ: Mapping[str, str] | None = None) -> tuple[Known, ...]:
    """All rates: those of ``RERANK_RATES``, else ``./rerank-rates.yaml``, then the shipped ones.

    Raises:
        ConfigurationError: the user's file is missing or wrong.
    """
    own = RATES.found(environ)
    found = [] if own is None else _known(read(RateFile, own).rates, str(own), own=True)
    shipped = read(RateFile, conf_path(SHIPPED)).rates
    return (*found, *_known(shipped, f"conf/{SHIPPED}", own=False))


def _known(rates: Sequence[Rate], origin: str, *, own: bool) -> list[Known]:
    return [Known(rate=rate, origin=origin, own=own) for rate in rates]


def record(rate: Rate, environ: Mapping[str, str] | None = None) -> Path:
    """Add a rate to the user's file, in place of one of the same subject; returns the file.

    Raises:
        ConfigurationError: the file is wrong, or cannot be written.
    """
    path = RATES.path(environ)
    before = read(RateFile, path).rates if path.is_file() else ()
    kept = [one for one in before if _subject(one) != _subject(rate)]
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(to_yaml([*kept, rate]), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{path}: the rate cannot be written ({error}); {RATES.variable} names another file"
        ) from None
    return path


def to_yaml(rates: Sequence[Rate]) -> str:
    """A file of rates."""
    data = {"rates": [rate.model_dump(mode="json", exclude_defaults=True) for rate in rates]}
    return _HEAD + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


def _subject(rate: Rate) -> tuple[Any, ...]:
    """What was measured; a new measurement of the same goes in the old one's place."""
    return (
        rate.model, rate.family, rate.network, rate.digest, rate.device, rate.threads, rate.dtype,
        round(rate.mean_length),
    )  # fmt: skip
