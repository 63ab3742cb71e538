"""Limits of a run: refused before it begins, drained while it runs, counted over its sessions."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config import JobConfig, LimitsConfig, ReplicasConfig
from pipeline.errors import ConfigurationError, LimitError, TerminatedError
from pipeline.execution import forecasting
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.preparation import Prepared, prepare, prepare_again
from pipeline.execution.run import execute
from pipeline.execution.runs import lease
from pipeline.execution.runs.holder import read_holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.session import driven
from pipeline.execution.spending import DEVICE_HOURS, Budget, Spending, hours_before
from pipeline.execution.termination import Termination
from pipeline.pricing import load_prices
from tests.makers import long_table, write

H100 = "NVIDIA H100 80GB HBM3"
DEAR = """
currency: EUR
date: 2026-01-01
source: a machine that costs a euro a second
cpu_hour: {low: 3600, high: 3600}
"""


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("RERANK_PRICES", "RERANK_RATES"):
        monkeypatch.delenv(name, raising=False)
    yield


def prepared(folder: Path, model: dict[str, object], **sections: object) -> Prepared:
    path = folder / "in.parquet"
    if not path.exists():
        write(path, long_table(queries=40, documents=6))
    job = {
        "model": model,
        "input": {"path": str(path)},
        "output": {"path": str(folder / "out")},
        "units": {"documents": 20},
        "ray": {"mode": "in_process"},
    }
    config = JobConfig.model_validate(job | sections)
    return prepare(config, allow_code=frozenset({"benchmarks.fixed_cost"}))


def spending(before: dict[str, float] | None = None, **replicas: float) -> Spending:
    config = ReplicasConfig.model_validate({"num_gpus": 1.0, "num_cpus": 4.0} | replicas)
    return Spending(config, load_prices(), before or {})


def ending() -> Termination:
    return Termination(grace_s=600, on_request=lambda: None, on_exit=lambda: None)


def test_hours_are_of_gpus_by_name_or_of_cpus() -> None:
    seconds = {H100: 3600.0, "": 1800.0}
    assert spending().hours_of(seconds) == {H100: 1.5}
    assert spending(num_gpus=0.5).hours_of(seconds) == {H100: 0.75}
    assert spending(num_gpus=0.0).hours_of({"cpu": 1800.0, "": 1800.0}) == {"cpu": 4.0}
    assert spending({H100: 2.0, "cpu": 1.0}).hours_of({H100: 3600.0}) == {H100: 3.0, "cpu": 1.0}
    assert spending().hours_of({"": 60.0}) == {}
    few = spending(num_gpus=0.0, num_cpus=1.0)
    few.replicas = few.replicas.model_copy(update={"num_cpus": 8.0})  # for one unit that is left
    assert few.hours_of({"cpu": 3600.0}) == {"cpu": 8.0}


def test_cost_is_of_this_session_and_unknown_where_a_device_has_no_price() -> None:
    assert spending({H100: 9.0}).cost_of({H100: 7200.0}) == pytest.approx((3.0, 14.0))
    assert spending().cost_of({H100: 60.0, "NVIDIA Zeta": 60.0}) is None


@pytest.mark.parametrize(
    ("limits", "hours", "said"),
    [
        ({"gpu_hours": 2.0}, {H100: 1.9, "cpu": 50.0}, None),
        ({"gpu_hours": 2.0}, {H100: 1.5, "NVIDIA L4": 0.5}, "limits.gpu_hours = 2 is reached"),
        ({"cost": 7.5}, {H100: 1.0}, None),
        ({"cost": 6.5}, {H100: 1.0}, "limits.cost = 6.5 USD is reached: 1.5 to 7 USD"),
        ({"cost": 1e9}, {"NVIDIA Zeta": 1.0}, "no price of 'NVIDIA Zeta' is known"),
        ({"cost": 1.0}, {}, None),
        ({}, {H100: 1e9}, None),
    ],
)
def test_a_limit_asks_the_run_to_end(
    limits: dict[str, float], hours: dict[str, float], said: str | None
) -> None:
    termination = ending()
    budget = Budget(LimitsConfig.model_validate(limits), spending(), termination)
    budget.watch(Snapshot(device_hours=hours, units=3, units_done=2, units_in_flight=1))
    assert not termination.requested  # nothing is left that could be saved
    budget.watch(Snapshot(device_hours=hours, units=4, units_done=2, units_in_flight=1))
    assert termination.requested == (said is not None)
    if said is None:
        termination.check()
    else:
        with pytest.raises(LimitError, match=said) as error:
            termination.check()
        assert error.value.exit_code == 8


def test_sigterm_after_a_limit_ends_the_run_as_sigterm_does() -> None:
    termination = ending()
    with termination.watched():
        termination.request(LimitError("reached"))
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(TerminatedError):
            termination.check()


def test_limits_are_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    runs = {
        prepared(tmp_path, {"name": "lexical"}, limits=limits).plan.run_id
        for limits in ({}, {"cost": 1.0}, {"gpu_hours": 3.0})
    }
    assert len(runs) == 1


def test_what_would_exceed_a_limit_is_refused_before_anything_is_written(
    goldens: Path, tmp_path: Path
) -> None:
    model = {"name": str(goldens / "ms-marco-minilm-tiny")}
    Path("rerank-prices.yaml").write_text(DEAR)
    with pytest.raises(ConfigurationError, match=r"limits.cost: .* times the limit of 1e-09 EUR"):
        execute(prepared(tmp_path, model, limits={"cost": 1e-9}))
    assert not (tmp_path / "out").exists()


def test_a_limit_of_cost_takes_a_price(tmp_path: Path) -> None:
    Path("rerank-prices.yaml").write_text("currency: EUR\ndate: 2026-01-01\nsource: none\n")
    with pytest.raises(ConfigurationError, match=r"limits.cost cannot be kept, .* 'cpu' is known"):
        execute(prepared(tmp_path, {"name": "lexical"}, limits={"cost": 5.0}))
    assert not (tmp_path / "out").exists()


def test_only_a_gpu_that_is_known_to_be_used_needs_a_price_before_a_run() -> None:
    replicas = spending(num_gpus=1).replicas
    device = SimpleNamespace(speed=SimpleNamespace(device="NVIDIA Zeta"), here=False)
    found: Any = SimpleNamespace(own=[device], prices=load_prices())
    forecasting._refuse_unpriced(found, replicas)  # a cluster may give another one
    device.here = True
    with pytest.raises(ConfigurationError, match="no price of 'NVIDIA Zeta' is known"):
        forecasting._refuse_unpriced(found, replicas)


def test_a_run_that_reaches_its_limit_keeps_its_units_and_goes_on_with_a_higher_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("rerank-prices.yaml").write_text(DEAR)
    pace = tmp_path / "pace"
    pace.write_text("0.004")
    model = {"family": "benchmarks.fixed_cost", "settings": {"pace": str(pace)}}
    limited = prepared(tmp_path, model, limits={"cost": 0.5}, replicas={"num_cpus": 1})
    folder: RunFolder = limited.folder
    with pytest.raises(LimitError, match=r"limits.cost = 0.5 EUR is reached: .*finished units"):
        execute(limited)
    done = len(list(folder.committed()))
    assert 0 < done < len(limited.plan.units)
    holder = read_holder(folder.path)
    assert holder is not None
    assert holder.state == "released"
    spent = hours_before(folder)["cpu"]
    assert spent >= 0.5 / 3600
    report = folder.report()
    assert report is not None
    assert report["state"] == "LimitError"
    assert report[DEVICE_HOURS]["cpu"] == pytest.approx(spent, abs=1e-3)
    assert report["last"]["currency"] == report["spent"]["currency"] == "EUR"
    with pytest.raises(ConfigurationError, match="in earlier sessions; raise it"):
        execute(limited)
    pace.write_text("0")
    allow = frozenset({"benchmarks.fixed_cost"})
    outcome = execute(prepare_again(folder, ["limits.cost=1000"], allow_code=allow))
    assert outcome.units_run == len(limited.plan.units) - done
    assert hours_before(folder)["cpu"] >= spent
    told = folder.report()["spent"]
    assert told["cost"] == pytest.approx([3600 * hours_before(folder)["cpu"]] * 2)


def test_what_another_driver_took_while_this_one_waited_for_its_lease_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepared(tmp_path, {"name": "lexical"}, lease={"ttl_s": 0.5})
    told: dict[str, Any] = {}
    other = lease.take(job.folder.path, ttl_s=3_600, progress=lambda: told)
    unchanged = lease._unchanged

    def meanwhile(path: str, version: str, seconds: float) -> bool:
        told[DEVICE_HOURS] = {H100: 1.0}
        other.release()
        return unchanged(path, version, seconds)

    monkeypatch.setattr(lease, "_unchanged", meanwhile)
    with driven(job) as session:
        assert session.spending.hours_of({}) == {H100: 1.0}
        holder = read_holder(job.folder.path)
        assert holder is not None
        assert holder.progress[DEVICE_HOURS] == {H100: 1.0}
