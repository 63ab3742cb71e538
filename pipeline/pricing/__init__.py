"""What machines cost, how fast they were measured, and what a run costs by that: plain data."""

from __future__ import annotations

from pipeline.pricing.cost import Tariff, cost, tariff_of
from pipeline.pricing.prices import Prices, load_prices

__all__ = ["Prices", "Tariff", "cost", "load_prices", "tariff_of"]
