"""What our file system makes of s3fs: its own methods, in forks, with other keys, interrupted."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiobotocore.session import AioSession
from fsspec.asyn import get_loop
from fsspec.config import conf

from pipeline.config import StorageConfig
from pipeline.errors import StorageError
from pipeline.storage import store
from pipeline.storage.counters import take
from pipeline.storage.policy import set_retry_policy
from pipeline.storage.s3.filesystem import filesystem
from tests.fixtures_s3 import BUCKET, s3_client
from tests.support.fault_proxy import SLOW_DOWN, ExpiredUnless, FaultProxy, Hang, LoseAnswer, Rule
from tests.support.s3_server import S3Server

#: Methods that s3fs has, and what they answer in a folder that holds "a" and "deep/b".
INHERITED: dict[str, tuple[Callable[[Any, str], Any], Any]] = {
    "call_s3": (lambda fs, at: fs.call_s3("head_object", **place(f"{at}/a"))["ContentLength"], 1),
    "cat_file": (lambda fs, at: fs.cat_file(f"{at}/a"), b"x"),
    "exists": (lambda fs, at: fs.exists(f"{at}/a"), True),
    "exists, absent": (lambda fs, at: fs.exists(f"{at}/no"), False),
    "find": (lambda fs, at: [path[len(at) - 5 :] for path in fs.find(at)], ["/a", "/deep/b"]),
    "info": (lambda fs, at: fs.info(f"{at}/a")["size"], 1),
    "ls": (lambda fs, at: len(fs.ls(at)), 2),
    "ls, buckets": (lambda fs, _: BUCKET in fs.ls(""), True),
    "open": (lambda fs, at: fs.open(f"{at}/a").read(), b"x"),
    "pipe_file": (lambda fs, at: fs.pipe_file(f"{at}/c", b"y") and fs.cat_file(f"{at}/c"), b"y"),
    "rm_file": (lambda fs, at: fs.rm_file(f"{at}/a") or fs.exists(f"{at}/a"), False),
}


def place(path: str) -> dict[str, str]:
    bucket, key, _ = filesystem().split_path(path)
    return {"Bucket": bucket, "Key": key}


@pytest.mark.parametrize("name", INHERITED)
def test_whatever_method_of_s3fs_asks_is_answered_and_counted_once(
    fault_proxy: FaultProxy, s3_folder: str, name: str
) -> None:
    store.write_whole(store.join(s3_folder, "a"), b"x")
    store.write_whole(store.join(s3_folder, "deep", "b"), b"x")
    fault_proxy.clear()
    fault_proxy.add(Rule(SLOW_DOWN, nth=(1, 3)), Rule(LoseAnswer(), nth=(1,)))
    take()  # what happened before is not counted
    call, answer = INHERITED[name]
    assert call(filesystem(), s3_folder) == answer
    assert sum(take().values()) == len(fault_proxy.hits) > 0


def test_nothing_that_was_listed_is_remembered(s3_server: S3Server, s3_folder: str) -> None:
    prefix = s3_folder.removeprefix(f"s3://{BUCKET}/")
    fs = filesystem()
    for number in range(3):
        s3_client(s3_server).put_object(Bucket=BUCKET, Key=f"{prefix}/{number}", Body=b"x")
        assert len(fs.ls(s3_folder)) == len(fs.find(s3_folder)) == number + 1
        assert not fs.exists(f"{s3_folder}/{number + 1}")


@pytest.mark.parametrize("key", ["a?versionId=1", "/a", "b//a", "a b", "%2F"])
def test_keys_are_literal_for_s3fs_as_well(s3_folder: str, key: str) -> None:
    path = f"{s3_folder}/{key}"
    filesystem().pipe_file(path, key.encode())
    assert store.read_bytes(path) == filesystem().cat_file(path) == key.encode()
    assert [file.path for file in store.list_files(s3_folder, suffix="")] == [path]


def test_one_for_each_environment(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here = filesystem()
    assert filesystem() is here
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert filesystem() is not here
    monkeypatch.delenv("AWS_PROFILE")
    assert filesystem() is here


def test_keys_of_fsspec_s_own_configuration_are_neither_used_nor_sent_on(
    s3_server: S3Server, s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conf, "s3", {"key": "of-fsspec", "secret": "hush", "anon": True})
    monkeypatch.setenv("AWS_REGION", "us-east-1")  # so that it is a new one
    store.write_whole(store.join(s3_folder, "a"), b"x")
    sent = pickle.dumps(filesystem())
    assert b"hush" not in sent
    assert s3_server.secret_key.encode() not in sent
    assert pickle.loads(sent) is filesystem()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_a_client_of_its_own(s3_folder: str) -> None:
    path = store.join(s3_folder, "a.bin")
    store.write_whole(path, b"x" * 100)
    with store.open_input(path) as file:
        parent = filesystem()
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a client whose loop stayed in the parent would hang
            try:
                same = filesystem() is parent
                right = file.read() == b"x" * 100 and store.create_if_absent(f"{path}-2", b"y")
                os._exit(0 if right and not same else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert file.read() == b"x" * 100
    assert store.read_bytes(f"{path}-2") == b"y"


def test_expired_keys_are_read_again_once_for_all_that_noticed(
    s3_server: S3Server,
    fault_proxy: FaultProxy,
    s3_folder: str,
    rotate: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rotate("old")
    # All requests are on their way with the old keys before the first one is refused.
    fault_proxy.add(Rule(ExpiredUnless(s3_server.access_key, seconds=0.05)))
    filesystem().connect()
    rotate(s3_server.access_key)
    made: list[str] = []
    create_client = AioSession.create_client

    def counted(self: AioSession, service: str, **options: Any) -> Any:
        made.append(service)
        return create_client(self, service, **options)

    monkeypatch.setattr(AioSession, "create_client", counted)
    take()  # what happened before is not counted
    paths = [store.join(s3_folder, f"{i}.bin") for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda path: store.create_if_absent(path, b"x"), paths))
    assert made == ["s3"]
    refused = [method for method, _ in fault_proxy.requests].count("PUT") - 8
    assert take() == {"credential_refreshes": refused}
    assert refused > 1


def test_an_interrupted_wait_leaves_no_request_behind(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    store.write_whole(store.join(s3_folder, "a"), b"x")
    fault_proxy.add(Rule(Hang()))
    set_retry_policy(StorageConfig(attempts=1000, backoff_s=0.01, stall_s=0.05))
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for call in (store.read_bytes, store.delete, store.list_names, store.exists):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                call(store.join(s3_folder, "a"))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            store.create_if_absent(store.join(s3_folder, "b"), b"x")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)

    async def others() -> None:
        mine = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not mine]
        await asyncio.wait_for(asyncio.gather(*left, return_exceptions=True), 30)

    asyncio.run_coroutine_threadsafe(others(), get_loop()).result()
    fault_proxy.clear()
    set_retry_policy(StorageConfig(attempts=1))
    assert store.read_bytes(store.join(s3_folder, "a")) == b"x"
    assert fault_proxy.requests == [("GET", fault_proxy.requests[0][1])]


def test_a_store_that_refuses_a_listing_half_way_gives_no_half_of_it(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    for number in range(3):
        store.write_whole(store.join(s3_folder, str(number)), b"x")
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    fault_proxy.add(Rule(SLOW_DOWN, path="list-type"))
    for method in (filesystem().find, filesystem().ls, store.list_names, store.is_folder):
        with pytest.raises(StorageError, match="could not be listed in 2 attempts"):
            method(s3_folder)
