"""One version, by as few requests as its size allows, never another range than the one wanted."""

from __future__ import annotations

import pickle

import pytest

from pipeline.config import StorageConfig
from pipeline.errors import StorageError
from pipeline.storage import store
from pipeline.storage.policy import set_retry_policy
from tests.support.fault_proxy import DropHeaders, FaultProxy, Rule, ShortRange

MIB = 1 << 20


def test_small_reads_share_a_request_and_long_ones_are_one(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    path = store.join(s3_folder, "a.bin")
    data = bytes(range(256)) * (5 * MIB // 256)
    store.write_whole(path, data)
    fault_proxy.clear()

    def gets() -> int:
        return [method for method, _ in fault_proxy.requests].count("GET")

    with store.open_input(path) as file:
        assert fault_proxy.requests == [("HEAD", fault_proxy.requests[0][1])]
        for start in (0, 100, MIB - 50):
            file.seek(start)
            assert file.read(50) == data[start : start + 50]
        assert gets() == 1
        file.seek(2 * MIB)
        assert file.read(2 * MIB) == data[2 * MIB : 4 * MIB]
        assert gets() == 2
        assert file.read() == data[4 * MIB :]
        assert file.read() == b""
        assert gets() == 2, "what was read ahead is not asked for again"


def test_an_empty_file_is_read_without_a_request_for_nothing(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    path = store.join(s3_folder, "empty")
    store.write_whole(path, b"")
    fault_proxy.clear()
    with store.open_input(path) as file:
        assert file.read() == b""
    assert [method for method, _ in fault_proxy.requests] == ["HEAD"]
    assert store.read_bytes(path) == b""


def test_a_store_that_ignores_ranges_is_not_believed(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    path = store.join(s3_folder, "a.bin")
    store.write_whole(path, bytes(3 * MIB))
    fault_proxy.add(Rule(DropHeaders(("range",)), method="GET"))
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    with store.open_input(path) as file:
        file.seek(MIB)
        with pytest.raises(StorageError, match=r"a\.bin: .*in 2 attempts.* another range"):
            file.read(10)


def test_less_than_was_asked_for_is_never_taken_for_the_end(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    path, data = store.join(s3_folder, "a.jsonl"), bytes(range(256)) * 16
    store.write_whole(path, data)
    fault_proxy.add(Rule(ShortRange(), method="GET", most=1))
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    with store.open_input(path) as file:
        assert file.read() == data
    fault_proxy.clear()
    fault_proxy.add(Rule(ShortRange(), method="GET"))
    with (
        store.open_input(path) as file,
        pytest.raises(StorageError, match=r"a\.jsonl: .*4095 bytes came, where 4096 were asked"),
    ):
        file.read()


def test_a_file_that_is_open_is_not_sent_to_another_process(s3_folder: str) -> None:
    path = store.join(s3_folder, "a.bin")
    store.write_whole(path, b"x")
    with store.open_input(path) as file, pytest.raises(TypeError, match=r"a\.bin.*send the path"):
        pickle.dumps(file)
