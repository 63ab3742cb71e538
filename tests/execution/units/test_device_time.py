from __future__ import annotations

import pytest

from pipeline.execution.units.device_time import DeviceTime


def test_the_share_is_of_all_replicas_from_first_unit_to_last() -> None:
    time = DeviceTime()
    assert time.busy is None
    # Two units in one replica at one time: each waits for the device while the other has it.
    time.add(DeviceTime.of_unit("a", began=100.0, ended=104.0, busy_s=2.0))
    assert time.busy == pytest.approx(2 / 4)
    time.add(DeviceTime.of_unit("a", began=101.0, ended=106.0, busy_s=3.0))
    assert time.busy == pytest.approx(5 / 6)
    time.add(DeviceTime.of_unit("b", began=500.0, ended=510.0, busy_s=1.0))
    assert time.busy == pytest.approx(6 / 16)
    time.add({"engine": {"units": 1}})  # a row that no replica made
    assert time.busy == pytest.approx(6 / 16)
