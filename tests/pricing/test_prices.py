"""Prices: which one is a device's, whose file counts, and what replicas cost by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.pricing import load_prices
from pipeline.pricing.devices import nearest_type
from pipeline.pricing.prices import Prices

OWN = """
currency: USD
date: 2026-01-01
source: our contract
gpu_hour:
  A100: {low: 1.25, high: 1.25}
"""


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RERANK_PRICES", raising=False)


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("A100-80G", "A100-80GB"),
        ("A100", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A10G", "A10G"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce GTX 970", None),
        ("", None),
    ],
)
def test_a_device_is_found_by_its_driver_s_and_by_ray_s_name(device: str, kind: str | None) -> None:
    assert nearest_type(device, load_prices().types) == kind


def test_every_shipped_price_is_a_range_with_a_source_and_a_day() -> None:
    prices = load_prices()
    [file] = prices.files.values()
    assert prices.currency == "USD"
    assert file.source
    assert file.date
    assert all(0 < price.low < price.high for price in file.gpu_hour.values())
    assert prices.of("cpu") == file.cpu_hour


def test_what_the_user_says_of_a_gpu_counts_even_where_the_shipped_name_says_more() -> None:
    Path("rerank-prices.yaml").write_text(OWN)
    assert _price(load_prices(), "NVIDIA A100-SXM4-80GB") == (1.25, 1.25)
    assert _price(load_prices(), "NVIDIA L4") == (0.4, 1.1)
    assert load_prices().origins[0] == "rerank-prices.yaml (2026-01-01)"


def test_a_file_in_another_currency_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text(OWN.replace("USD", "EUR"))
    monkeypatch.setenv("RERANK_PRICES", "own.yaml")
    prices = load_prices()
    assert prices.currency == "EUR"
    assert prices.of("NVIDIA L4") is None
    assert prices.of("cpu") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN + "gpu_hours: {}\n", "gpu_hour"),
        (OWN.replace("high: 1.25", "high: 1.0"), "below low"),
        (OWN.replace("low: 1.25", "low: cheap"), "gpu_hour.A100.low"),
        (OWN.replace("low: 1.25", "low: -1"), "gpu_hour.A100.low"),
        (OWN.replace("USD", "dollars"), "currency"),
        ("[", "rerank-prices.yaml"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_and_key(text: str, said: str) -> None:
    Path("rerank-prices.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"rerank-prices.yaml") as error:
        load_prices()
    assert said in str(error.value)


def test_a_file_that_is_named_and_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_PRICES", "gone.yaml")
    with pytest.raises(ConfigurationError, match=r"RERANK_PRICES: gone.yaml is no file"):
        load_prices()


def _price(prices: Prices, device: str) -> tuple[float, float]:
    price = prices.of(device)
    assert price is not None
    return price.low, price.high
