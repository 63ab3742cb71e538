"""GPUs as a process sees them, of a driver that the machine need not have."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.machine.nvidia import Gpu, driver_version, gpus, visible
from tests.support.driver import Card, Driver

FIRST, SECOND = Card(uuid="GPU-1111-aaaa"), Card(uuid="GPU-2222-bbbb", capability=(8, 0))


def test_the_gpus_of_a_driver(monkeypatch):
    Driver([FIRST, SECOND]).install(monkeypatch)
    first, second = gpus()
    assert first == Gpu(
        index=0,
        uuid="GPU-1111-aaaa",
        name="NVIDIA H100 80GB HBM3",
        memory_bytes=80 * 2**30,
        capability=(9, 0),
    )
    assert second.index == 1
    assert driver_version() == "580.95.05"


@pytest.mark.parametrize(
    ("asked", "indices"),
    [
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", [0]),
        ("1,0", [1, 0]),
        (" 1 , 0 ", [1, 0]),
        ("0,-1,1", [0]),
        ("0,7,1", [0]),
        ("1,1", []),
        ("GPU-2222", [1]),
        ("GPU-2222-bbbb,GPU-1", [1, 0]),
        ("GPU-", []),
        ("GPU-3", []),
    ],
)
def test_what_the_environment_leaves(monkeypatch, asked, indices):
    Driver([FIRST, SECOND]).install(monkeypatch, visible=asked)
    assert [gpu.index for gpu in gpus()] == indices


def test_a_divided_gpu_stands_for_its_first_instance(monkeypatch):
    divided = Card(uuid="GPU-9", instances=(10 * 2**30, 20 * 2**30))
    Driver([divided, SECOND]).install(monkeypatch)
    assert [gpu.memory_bytes >> 30 for gpu in gpus()] == [10, 80]
    named = gpus({"CUDA_VISIBLE_DEVICES": "MIG-1-9"})
    assert [(gpu.index, gpu.memory_bytes >> 30, gpu.capability) for gpu in named] == [
        (0, 20, (9, 0))
    ]


def test_a_gpu_that_shares_its_hosts_memory(monkeypatch):
    Driver([Card(memory=0, capability=None)]).install(monkeypatch)
    [gpu] = gpus()
    assert (gpu.memory_bytes, gpu.capability) == (0, None)


@pytest.mark.parametrize("driver", [Driver(), Driver([FIRST], broken=True)])
def test_no_driver_is_no_gpu(monkeypatch, driver):
    driver.install(monkeypatch)
    assert gpus() == ()
    assert driver.broken is (driver_version() is None)


def test_a_library_that_is_not_installed_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus() == ()
    assert driver_version() is None


def test_what_nvidias_own_library_says_here_raises_nothing():
    code = "import pipeline.machine as m; assert isinstance(m.gpus(), tuple); m.driver_version()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_visible_gpus_are_named_by_index_even_where_some_are_missing():
    gpu = Gpu(index=3, uuid="GPU-3", name="A", memory_bytes=1, capability=None)
    assert visible("3", [gpu]) == (gpu,)
