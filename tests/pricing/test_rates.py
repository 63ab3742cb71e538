"""Measured rates: the shipped table, and what a user's own measurements add."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rates import shipped_rates
from pipeline.errors import ConfigurationError
from pipeline.pricing.rates import SHIPPED, load_rates, record, to_yaml
from pipeline.resources import conf_path


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RERANK_RATES", raising=False)


def test_the_shipped_table_is_what_the_results_say() -> None:
    assert conf_path(SHIPPED).read_text() == to_yaml(shipped_rates())


def test_tokens_and_operations_of_a_rate_agree() -> None:
    for known in load_rates():
        rate = known.rate
        assert not known.own
        assert rate.network_flop_per_s >= rate.flop_per_s
        assert rate.tokens_per_s > rate.documents_per_s
        assert 1e8 < rate.flop_per_document < 1e13
        noisy = rate.model_copy(update={"network_documents_per_s": rate.documents_per_s / 2})
        assert noisy.network_flop_per_s == noisy.flop_per_s


def test_a_recorded_rate_goes_first_and_takes_the_place_of_the_one_before() -> None:
    [shipped, *_] = load_rates()
    first = shipped.rate.model_copy(update={"device": "NVIDIA L4", "documents_per_s": 1000.0})
    assert record(first) == Path("rerank-rates.yaml")
    record(first.model_copy(update={"mean_length": 4 * first.mean_length}))
    record(first.model_copy(update={"documents_per_s": 2000.0}))
    own = [known for known in load_rates() if known.own]
    assert [known.rate.documents_per_s for known in own] == [1000.0, 2000.0]
    assert load_rates()[: len(own)] == tuple(own)
    assert own[0].origin == "rerank-rates.yaml"
    assert list(Path().iterdir()) == [Path("rerank-rates.yaml")]


def test_a_wrong_file_is_refused_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_RATES", "mine.yaml")
    Path("mine.yaml").write_text("rates:\n- {model: x, documents_per_s: fast}\n")
    with pytest.raises(ConfigurationError, match=r"mine.yaml: .*rates.0.documents_per_s"):
        load_rates()
    with pytest.raises(ConfigurationError, match=r"mine.yaml"):
        record(shipped_rates()[0])
    assert "fast" in Path("mine.yaml").read_text()


def test_a_place_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_RATES", "no/folder/mine.yaml")
    with pytest.raises(ConfigurationError, match="RERANK_RATES names another file"):
        record(shipped_rates()[0])
