"""What machines cost, and how fast they were measured: plain data."""

from __future__ import annotations

from pipeline.pricing.prices import Prices, load_prices

__all__ = ["Prices", "load_prices"]
