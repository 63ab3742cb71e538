"""Prices of machines by the hour: the shipped ranges, and those of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field, model_validator

from pipeline.config import Settings
from pipeline.pricing.devices import CPU, nearest_type
from pipeline.pricing.user_files import PRICES, read
from pipeline.resources import conf_path

#: Below ``conf/``.
SHIPPED: Final = "pricing/prices.yaml"


class Price(Settings):
    """A price by the hour, from what is least paid for such a machine to what is most."""

    low: float = Field(ge=0, allow_inf_nan=False, description="The least that is paid.")
    high: float = Field(ge=0, allow_inf_nan=False, description="The most that is paid.")

    @model_validator(mode="after")
    def _ordered(self) -> Price:
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) is below low ({self.low:g})")
        return self


class PriceFile(Settings):
    """A file of prices: ``conf/pricing/prices.yaml``, or one of the user's own."""

    currency: str = Field(pattern="^[A-Z]{3}$", description="ISO 4217, such as USD.")
    date: str = Field(description="Day of the prices, YYYY-MM-DD.")
    source: str = Field(min_length=1, description="Where they are from.")
    cpu_hour: Price | None = Field(None, description="Of one logical CPU with its memory.")
    gpu_hour: dict[str, Price] = Field(
        default_factory=dict,
        description="By type of GPU, the host's share among it. All words of the type must stand "
        "in the device's name: A100-80GB is NVIDIA A100-SXM4-80GB.",
    )


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices in one currency, of one file or of several.

    Attributes:
        files: by where they are from; the first that has a price for a device counts, so that
            what a user says of ``A100`` goes before what is shipped for ``A100-80GB``.
    """

    files: Mapping[str, PriceFile]

    @property
    def currency(self) -> str:
        """ISO 4217."""
        return next(iter(self.files.values())).currency

    @property
    def origins(self) -> tuple[str, ...]:
        """Where the prices are from, in words."""
        return tuple(f"{path} ({file.date})" for path, file in self.files.items())

    @property
    def types(self) -> tuple[str, ...]:
        """Every type of GPU that has a price."""
        return tuple(dict.fromkeys(kind for file in self.files.values() for kind in file.gpu_hour))

    def of(self, device: str) -> Price | None:
        """Price of one GPU by its name, or of one logical CPU (``cpu``); None: not known."""
        for file in self.files.values():
            kind = nearest_type(device, file.gpu_hour)
            price = file.cpu_hour if device == CPU else file.gpu_hour.get(kind or "")
            if price is not None:
                return price
        return None


def load_prices(environ: Mapping[str, str] | None = None) -> Prices:
    """The prices that count here.

    A file of the user's own (``RERANK_PRICES``, else ``./rerank-prices.yaml``) goes before the
    shipped one; where it has another currency, it alone counts.

    Raises:
        ConfigurationError: the user's file is missing or wrong.
    """
    path = conf_path(SHIPPED)
    shipped = read(PriceFile, path)
    own = PRICES.found(environ)
    if own is None:
        return Prices(files={f"conf/{SHIPPED}": shipped})
    mine = read(PriceFile, own)
    alone = mine.currency != shipped.currency
    return Prices(files={str(own): mine} | ({} if alone else {f"conf/{SHIPPED}": shipped}))
