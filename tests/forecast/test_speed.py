"""Which measured rate tells how fast a model will be, and how it is carried over."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import ReplicasConfig
from pipeline.errors import ConfigurationError
from pipeline.forecast.estimates import Estimate
from pipeline.forecast.forecast import replaced_rates
from pipeline.forecast.money import DeviceForecast, device_forecast, replicas_on_gpus
from pipeline.forecast.speed import Speed, Wanted, given, speeds
from pipeline.pricing import load_prices
from pipeline.pricing.rates import Known, Rate

NETWORK = "6 layers of 384"
H100 = "NVIDIA H100 80GB HBM3"


def known(*, own: bool = False, **changed: Any) -> Known:
    values: dict[str, Any] = {
        "model": "minilm-l6", "family": "cross_encoder", "network": NETWORK, "device": H100,
        "kind": "cuda", "dtype": "bfloat16", "mean_length": 100.0, "flop_per_document": 1e9,
        "documents_per_s": 1000.0, "tokens_per_s": 1e5, "network_documents_per_s": 2000.0,
        "versions": {}, "command": "rerank bench",
    }  # fmt: skip
    return Known(rate=Rate.model_validate(values | changed), origin="rates.yaml", own=own)


def wanted(**changed: Any) -> Wanted:
    values: dict[str, Any] = {
        "network": NETWORK, "family": "cross_encoder", "digest": "", "flop_per_document": 1e9,
        "mean_length": 100.0, "dtypes": {"cpu": "float32", "cuda": "bfloat16"}, "threads": 1,
    }  # fmt: skip
    return Wanted(**values | changed)


def test_the_same_network_at_the_same_length_is_as_fast_as_it_was() -> None:
    [speed] = speeds(wanted(), [known()])
    assert (speed.low, speed.high, speed.basis) == (pytest.approx(1000), pytest.approx(2000),
                                                    "measured")  # fmt: skip


def test_twice_the_operations_take_twice_as_long() -> None:
    [speed] = speeds(wanted(flop_per_document=2e9), [known()])
    assert speed.low == pytest.approx(500)


@pytest.mark.parametrize(
    ("length", "expected"), [(50, 1000), (100, 1000), (200, 2000), (400, 4000), (900, 4000)]
)
def test_between_two_lengths_it_is_interpolated_and_beyond_them_constant(
    length: float, expected: float
) -> None:
    rates = [known(), known(mean_length=400.0, documents_per_s=4000.0)]
    [speed] = speeds(wanted(mean_length=length), rates)
    assert speed.low == pytest.approx(expected, rel=0.05)


def test_one_s_own_measurement_goes_before_the_shipped_one() -> None:
    [speed] = speeds(wanted(), [known(own=True, documents_per_s=700.0), known()])
    assert speed.low == pytest.approx(700)
    assert speed.own


def test_the_checkpoint_goes_before_the_family_and_that_before_the_network() -> None:
    rates = [
        known(family="bi_encoder", documents_per_s=1.0),
        known(documents_per_s=2.0),
        known(digest="d" * 64, documents_per_s=3.0),
    ]
    assert speeds(wanted(digest="d" * 64), rates)[0].low == pytest.approx(3)
    assert speeds(wanted(family="bi_encoder"), rates)[0].low == pytest.approx(1)


def test_another_network_on_the_device_is_a_guess_with_a_range() -> None:
    rates = [known(), known(network="other", flop_per_document=8e9)]
    [speed] = speeds(wanted(network="third"), rates)
    assert speed.basis == "guess"
    assert (speed.low, speed.high) == (pytest.approx(1000), pytest.approx(16_000))


def test_on_cpu_threads_count() -> None:
    cpu = {"kind": "cpu", "device": "EPYC", "dtype": "float32"}
    rates = [known(threads=1, **cpu), known(threads=4, documents_per_s=3000.0, **cpu)]
    assert speeds(wanted(threads=4), rates)[0].low == pytest.approx(3000)
    [scaled] = speeds(wanted(threads=2), rates)
    assert (scaled.low, scaled.basis) == (pytest.approx(2000), "scaled")


def test_another_precision_tells_nothing() -> None:
    assert speeds(wanted(dtypes={"cuda": "float8"}), [known()]) == []


def on_gpus(together: int, num_gpus: float, startup_s: float = 0) -> DeviceForecast:
    """Of 1,440,000 documents at 100 to 200 a second on a GPU for 1.5 to 7 an hour."""
    speed = Speed(device=H100, kind="cuda", dtype="bfloat16", low=100, high=200, per_cpu_s=None,
                  basis="measured", own=False, origin="")  # fmt: skip
    return device_forecast(
        speed, documents=Estimate(value=1.44e6, margin=0), startup_s=startup_s, here=False,
        together=together, prices=load_prices(),
        replicas=ReplicasConfig(num_gpus=num_gpus, num_cpus=8),
    )  # fmt: skip


def test_hours_time_and_cost_of_gpus() -> None:
    found = on_gpus(4, 1)
    assert found.count == 4
    assert found.documents_per_s == (400, 800)
    assert found.hours == (pytest.approx(2), pytest.approx(4))
    assert found.seconds == (pytest.approx(1800), pytest.approx(3600))
    assert found.cost == (pytest.approx(2 * 1.5), pytest.approx(4 * 7))


def test_replicas_that_share_a_gpu_are_as_fast_as_one_that_has_it() -> None:
    one, shared = on_gpus(2, 1, startup_s=36), on_gpus(4, 0.5, startup_s=36)
    assert shared == one
    assert on_gpus(3, 1 / 3).count == 1


def test_a_replica_with_two_gpus_is_paid_for_both_and_as_fast_as_one() -> None:
    found = on_gpus(4, 2, startup_s=36)
    assert found.count == 8
    assert found.documents_per_s == (400, 800)
    assert found.seconds == (pytest.approx(1836), pytest.approx(3636))
    assert found.hours == (pytest.approx(2 * (2 + 0.04)), pytest.approx(2 * (4 + 0.04)))


def test_replicas_at_work_on_so_many_gpus() -> None:
    assert replicas_on_gpus(ReplicasConfig(min=4, num_gpus=0.5), None) == 4
    assert replicas_on_gpus(ReplicasConfig(min=3, num_gpus=2), None) == 3
    assert replicas_on_gpus(ReplicasConfig(min=3, num_gpus=2), 8) == 4
    assert replicas_on_gpus(ReplicasConfig(min=3, num_gpus=2), 1) == 1  # the least that works
    assert replicas_on_gpus(ReplicasConfig(min=3, num_gpus=1 / 3), 2) == 6
    assert replicas_on_gpus(ReplicasConfig(min=3, num_gpus=0.7), 4) == 4  # a share is of one
    assert replicas_on_gpus(ReplicasConfig(min=6, num_gpus=0), None) == 1  # if it were on GPUs


def test_rates_of_one_s_own() -> None:
    assert given(replaced_rates(["L4=850", "H100 80GB=2.5e3"]))[1].low == 2500
    for wrong in ("L4", "L4=fast", "=3", "L4=0", "L4=-1", "L4=inf", "L4=nan"):
        with pytest.raises(ConfigurationError, match="--gpu-rate"):
            replaced_rates([wrong])
