"""A real S3 server behind a proxy that breaks things: whatever happens, the content is exact."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import StorageConfig
from pipeline.errors import AccessDeniedError, InputContractError, StorageError
from pipeline.storage import store
from pipeline.storage.counters import take
from pipeline.storage.parquet import read_rows, read_table, to_bytes
from pipeline.storage.policy import set_retry_policy
from pipeline.storage.probe import probe
from pipeline.storage.s3.faults import Attempts
from pipeline.storage.s3.filesystem import S3FileSystem
from pipeline.storage.s3.store import S3
from tests.fixtures_s3 import BUCKET, s3_client
from tests.support.fault_proxy import (
    IGNORE_CONDITIONS,
    SLOW_DOWN,
    Action,
    CorruptAnswer,
    CorruptRequest,
    CutAnswer,
    CutRequest,
    Drip,
    ExpiredUnless,
    FaultProxy,
    Hang,
    LoseAnswer,
    Page,
    Reset,
    Rule,
    Sip,
    Status,
)
from tests.support.s3_server import S3Server

#: Content past what sockets buffer, so that an upload can be cut, watched and slowed down.
LARGE = bytes(range(256)) * (1 << 15)

#: Something that is abandoned in a second; the floor is far above what the tests drip.
IMPATIENT = StorageConfig(backoff_s=0.01, stall_s=0.7, min_bytes_per_s=1 << 20)


@pytest.fixture
def events() -> Iterator[Callable[[], dict[str, int]]]:
    """What was counted since the test began."""
    counted: Counter[str] = Counter()

    def so_far() -> dict[str, int]:
        counted.update(take())
        return dict(counted)

    take()
    yield so_far


class Storm:
    """A small run: units are created, a lease is renewed, everything is read back and listed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.units = {f"unit-{i:02}.bin": bytes([i]) * (10 + 7_000 * i) for i in range(12)}

    def run(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._create, self.units))
        self._renew(rounds=8)
        assert store.list_names(self.folder) == ["lease.json", *sorted(self.units)]
        with ThreadPoolExecutor(4) as pool:
            contents = pool.map(lambda name: store.read_bytes(self._path(name)), self.units)
            assert list(contents) == list(self.units.values())

    def _path(self, name: str) -> str:
        return store.join(self.folder, name)

    def _create(self, name: str) -> None:
        assert store.create_if_absent(self._path(name), self.units[name])
        assert not store.create_if_absent(self._path(name), b"of a late duplicate")

    def _renew(self, rounds: int) -> None:
        path = self._path("lease.json")
        assert store.create_if_absent(path, b"beat 0")
        version = (store.read_versioned(path) or (b"", ""))[1]
        for beat in range(1, rounds + 1):
            new = store.replace_if_unchanged(path, f"beat {beat}".encode(), version)
            assert new is not None
            assert store.replace_if_unchanged(path, b"of a zombie", version) is None
            version = new
        assert store.read_bytes(path) == f"beat {rounds}".encode()


STORMS: dict[str, tuple[list[Rule], str | None]] = {
    "no fault": ([], None),
    "5 % SlowDown": ([Rule(SLOW_DOWN, probability=0.05)], "retries_throttled"),
    "30 % SlowDown": ([Rule(SLOW_DOWN, probability=0.3)], "retries_throttled"),
    "30 % of 500": ([Rule(Status(500, "InternalError"), probability=0.3)], "retries_server_error"),
    "resets": ([Rule(Reset(), probability=0.3)], "retries_connection"),
    "409 for 40 % of writes": (
        [Rule(Status(409, "ConditionalRequestConflict"), method="PUT", probability=0.4)],
        "retries_conflict",
    ),
    "every answer to a write lost": (
        [Rule(LoseAnswer(), method="PUT", nth=tuple(range(1, 10_000)))],
        "ambiguous_writes_resolved",
    ),
    "every write answered with 500": (
        [Rule(LoseAnswer(500), method="PUT")],
        "ambiguous_writes_resolved",
    ),
    "uploads cut": (
        [Rule(CutRequest(0), method="PUT", probability=0.4)],
        "retries_connection",
    ),
    "uploads damaged": (
        [Rule(CorruptRequest(0), method="PUT", probability=0.4)],
        "retries_damaged",
    ),
    "downloads cut": (
        [Rule(CutAnswer(3), method="GET", path=r"\.bin", probability=0.4)],
        "retries_connection",
    ),
    "downloads reset": (
        [Rule(CutAnswer(1, reset=True), method="GET", path=r"\.bin", probability=0.4)],
        "retries_connection",
    ),
    "downloads damaged": (
        [Rule(CorruptAnswer(0), method="GET", path=r"\.bin", probability=0.4)],
        "retries_damaged",
    ),
    "everything at once": (
        [
            Rule(SLOW_DOWN, probability=0.1),
            Rule(Reset(), probability=0.1),
            Rule(LoseAnswer(), method="PUT", probability=0.3),
            Rule(Status(409, "OperationAborted"), method="PUT", probability=0.2),
            Rule(CutAnswer(2), method="GET", path=r"\.bin", probability=0.2),
        ],
        "ambiguous_writes_resolved",
    ),
}


@pytest.mark.parametrize("name", STORMS)
def test_content_is_exact_in_every_storm(
    s3_server: S3Server,
    fault_proxy: FaultProxy,
    s3_folder: str,
    events: Callable[[], dict[str, int]],
    name: str,
) -> None:
    rules, counted = STORMS[name]
    if name == "uploads damaged" and not s3_server.checks_content:
        pytest.skip(f"{s3_server.name} stores what does not fit its Content-MD5")
    fault_proxy.add(*rules)
    Storm(s3_folder).run()
    assert bool(fault_proxy.hits) == bool(rules)
    retries = [number for name, number in events().items() if name.startswith("retries_")]
    assert sum(retries) == len(fault_proxy.hits), "each fault is counted, once"
    if counted is None:
        assert events() == {}
    else:
        assert events()[counted] > 0


def test_one_retry_per_fault(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    path = store.join(s3_folder, "unit.bin")
    fault_proxy.add(Rule(SLOW_DOWN, nth=(1, 2, 3, 4), method="GET"))
    fault_proxy.add(Rule(LoseAnswer(), nth=(1,), method="PUT"))
    assert store.create_if_absent(path, b"x")
    assert store.read_bytes(path) == b"x"
    assert events() == {
        "retries_connection": 1,
        "ambiguous_writes_resolved": 1,
        "retries_throttled": 4,
    }
    sent = [method for method, _ in fault_proxy.requests]
    assert sent == ["PUT", "HEAD", *["GET"] * 5], "the store was asked before anything was resent"


def test_the_server_s_own_slow_down(
    s3_server: S3Server, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    units = {store.join(s3_folder, f"unit-{i}"): bytes([i]) for i in range(150)}
    with s3_server.busy(), ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda path: store.create_if_absent(path, units[path]), units))
    if s3_server.can_be_busy:
        assert events().keys() == {"retries_throttled"}
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(store.read_bytes, units)) == list(units.values())


def test_somebody_else_s_write_is_not_taken_for_ours(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    path = store.join(s3_folder, "unit.bin")
    store.write_whole(path, b"equal")
    fault_proxy.add(Rule(Reset(), method="PUT", nth=(1,)))
    assert not store.create_if_absent(path, b"equal")
    assert "ambiguous_writes_resolved" not in events()


def test_a_refusal_that_the_store_itself_belies_is_not_believed(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    refused = Status(412, "PreconditionFailed")
    fault_proxy.add(Rule(refused, method="PUT", nth=(1, 2)))
    new = store.join(s3_folder, "new")
    assert store.create_if_absent(new, b"x"), "nothing was there"
    fault_proxy.clear()
    _, version = store.read_versioned(new) or (b"", "")
    assert store.replace_if_unchanged(new, b"y", version), "the spelling of ETags is known now"
    fault_proxy.add(Rule(refused, method="PUT", nth=(1, 2, 3)))
    _, version = store.read_versioned(new) or (b"", "")
    assert store.replace_if_unchanged(new, b"z", version), "nobody else had changed it"
    assert store.read_bytes(new) == b"z"
    assert events()["retries_conflict"] >= 4, "two for the new one, and all but one for the old"
    fault_proxy.clear()
    fault_proxy.add(Rule(refused, method="PUT"))
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    with pytest.raises(StorageError, match=r"other: could not be written .*PreconditionFailed"):
        store.create_if_absent(store.join(s3_folder, "other"), b"x")


@pytest.mark.parametrize("at", [0, 1, 1 << 20, len(LARGE) - 1])
def test_an_upload_that_is_cut_leaves_nothing_of_itself(
    fault_proxy: FaultProxy, s3_folder: str, at: int
) -> None:
    path = store.join(s3_folder, "large.bin")
    fault_proxy.add(Rule(CutRequest(at), method="PUT"))
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    with pytest.raises(StorageError, match="could not be written in 2 attempts"):
        store.create_if_absent(path, LARGE)
    assert not store.exists(path)
    fault_proxy.clear()
    store.write_whole(path, b"old")
    fault_proxy.add(Rule(CutRequest(at), method="PUT", nth=(1,)))
    store.write_whole(path, LARGE)
    assert store.read_bytes(path) == LARGE


def test_a_late_landing_of_our_own_write_is_ours(fault_proxy: FaultProxy, s3_folder: str) -> None:
    path = store.join(s3_folder, "lease.json")
    store.write_whole(path, b"one")
    _, version = store.read_versioned(path) or (b"", "")
    # The first answer is lost; the store is asked, but answers only from the third question on.
    fault_proxy.add(Rule(LoseAnswer(), method="PUT", nth=(1,)))
    fault_proxy.add(Rule(SLOW_DOWN, method="HEAD", nth=(1, 2)))
    new = store.replace_if_unchanged(path, b"two", version)
    assert store.read_versioned(path) == (b"two", new)


@pytest.mark.parametrize("body", [b"", b"<html><body>Please sign in.</body></html>"])
@pytest.mark.parametrize("often", [1, None])
def test_a_page_of_a_proxy_is_no_answer_of_the_store(
    fault_proxy: FaultProxy, s3_folder: str, body: bytes, often: int | None
) -> None:
    """With status 200: no folder is empty because of it, and no object is there, or gone."""
    path = store.join(s3_folder, "a.parquet")
    store.write_whole(path, b"content")
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    version = store.identify(path).version
    asked: list[tuple[Callable[[], Any], Any]] = [
        (lambda: store.list_names(s3_folder), ["a.parquet"]),
        (lambda: [file.path for file in store.list_files(s3_folder)], [path]),
        (lambda: store.is_folder(s3_folder), True),
        (lambda: store.read_bytes(path), b"content"),
        (lambda: store.identify(path).version, version),
        (lambda: store.create_if_absent(f"{path}-{often}", b"new"), True),
        (lambda: store.replace_if_unchanged(path, b"content", version) is not None, True),
    ]
    for ask, answer in asked:
        fault_proxy.clear()
        fault_proxy.add(Rule(Page(body), most=often))
        if often is None:
            with pytest.raises(StorageError, match=r"has no .*AWS_ENDPOINT_URL"):
                ask()
        else:
            assert ask() == answer


def test_a_store_that_only_fails_is_given_up_with_a_reason(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    fault_proxy.add(Rule(SLOW_DOWN))
    set_retry_policy(StorageConfig(attempts=4, backoff_s=0.001))
    with pytest.raises(StorageError, match=r"unit: could not be read in 4 attempts .*503 SlowDown"):
        store.read_bytes(store.join(s3_folder, "unit"))
    assert len(fault_proxy.hits) == 4
    with pytest.raises(StorageError, match=r"unit: could not be written in 4 attempts"):
        store.create_if_absent(store.join(s3_folder, "unit"), b"x")
    set_retry_policy(StorageConfig(attempts=1000, backoff_s=0.05, give_up_s=0.3))
    with pytest.raises(StorageError, match=r"could not be listed in \d+ attempts and \d s"):
        store.list_names(s3_folder)


def test_a_store_that_is_not_there_is_named(
    s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    set_retry_policy(StorageConfig(attempts=3, backoff_s=0.001))
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9"):
        store.list_files(s3_folder)


@pytest.mark.parametrize(
    "action", [Hang(), Drip(20_000), Hang(committed=True)], ids=["hang", "drip", "hang, committed"]
)
def test_a_slow_download_is_abandoned_and_tried_anew(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]], action: Action
) -> None:
    path = store.join(s3_folder, "large.bin")
    store.write_whole(path, LARGE)
    set_retry_policy(IMPATIENT)
    fault_proxy.add(Rule(action, method="GET", nth=(1,)))
    assert store.read_bytes(path) == LARGE
    assert events().keys() == {"retries_stalled"}


@pytest.mark.parametrize(
    ("action", "landed"),
    [(Hang(), False), (Hang(committed=True), True), (Sip(20_000), False)],
    ids=["hang", "hang, committed", "sip"],
)
def test_a_slow_upload_is_abandoned_and_tried_anew(
    fault_proxy: FaultProxy,
    s3_folder: str,
    events: Callable[[], dict[str, int]],
    action: Action,
    landed: bool,
) -> None:
    path = store.join(s3_folder, "large.bin")
    set_retry_policy(IMPATIENT)
    fault_proxy.add(Rule(action, method="PUT", nth=(1,)))
    assert store.create_if_absent(path, LARGE)
    assert events().keys() >= {"retries_stalled"}
    assert not landed or events()["ambiguous_writes_resolved"] == 1
    assert store.read_bytes(path) == LARGE
    assert not store.create_if_absent(path, b"late")


def test_a_listing_or_head_that_hangs_is_abandoned(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    path = store.join(s3_folder, "a.parquet")
    store.write_whole(path, b"x")
    set_retry_policy(IMPATIENT)
    fault_proxy.add(Rule(Hang(), method="HEAD", nth=(1,)), Rule(Hang(), path="list-type", nth=(1,)))
    assert store.exists(path)
    assert store.list_names(s3_folder) == ["a.parquet"]
    assert events()["retries_stalled"] >= 2


def test_a_slow_but_moving_transfer_is_waited_for(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    path = store.join(s3_folder, "a.bin")
    store.write_whole(path, bytes(150_000))
    set_retry_policy(StorageConfig(attempts=1, stall_s=2, min_bytes_per_s=1_000, give_up_s=0.1))
    fault_proxy.add(Rule(Drip(50_000), method="GET"))
    assert store.read_bytes(path) == bytes(150_000)
    assert events() == {}


def test_a_download_goes_on_where_it_broke(fault_proxy: FaultProxy, s3_folder: str) -> None:
    path = store.join(s3_folder, "large.bin")
    store.write_whole(path, LARGE)
    cut = len(LARGE) // 3
    fault_proxy.add(Rule(CutAnswer(cut), method="GET", nth=(1, 2)))
    set_retry_policy(StorageConfig(attempts=3, backoff_s=0.01))
    assert store.read_bytes(path) == LARGE
    with store.open_input(path) as file:
        assert file.read() == LARGE


def test_an_object_replaced_between_two_attempts_is_read_whole(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    path = store.join(s3_folder, "state.json")
    store.write_whole(path, b"old" * 100)

    class ReplaceThenCut(CutAnswer):
        async def answer(self, request: Any, upstream: Any) -> bytes:
            answer = await super().answer(request, upstream)
            replaced = threading.Thread(target=store.write_whole, args=(path, b"new" * 100))
            replaced.start()
            while replaced.is_alive():
                await asyncio.sleep(0.01)
            return answer

    fault_proxy.add(Rule(ReplaceThenCut(10), method="GET", nth=(1,)))
    assert store.read_bytes(path) == b"new" * 100


def test_flipped_bits_are_noticed_wherever_they_are(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    table = pa.table({"x": list(range(20_000)), "text": [f"{i} words" for i in range(20_000)]})
    data = to_bytes(table)
    path = store.join(s3_folder, "unit.parquet")
    store.write_whole(path, data)
    for at in range(5, len(data), len(data) // 12):
        fault_proxy.clear()
        fault_proxy.add(Rule(CorruptAnswer(at), method="GET", nth=(1,)))
        assert read_table(path).equals(table)
        assert len(fault_proxy.hits) == 1
    assert events()["retries_damaged"] >= 12


def test_flipped_bits_in_a_row_range_are_noticed_by_page_checksums(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]]
) -> None:
    table = pa.table({"x": list(range(300_000))})
    path = store.join(s3_folder, "input.parquet")
    store.write_whole(path, to_bytes(table))

    def rows() -> list[int]:
        batches = read_rows(path, 1_000, 290_000, columns=["x"])
        return [value for batch in batches for value in batch.column(0).to_pylist()]

    # The footer is the first GET; the column is the second.
    fault_proxy.add(Rule(CorruptAnswer(50_000), method="GET", nth=(2,)))
    assert rows() == list(range(1_000, 290_000))
    assert events() == {"retries_damaged": 1}
    fault_proxy.clear()
    fault_proxy.add(Rule(CorruptAnswer(50_000), method="GET"))
    with pytest.raises(InputContractError, match=r"input\.parquet.*not readable as Parquet"):
        rows()


def test_rot_at_rest_is_named(s3_server: S3Server, s3_folder: str) -> None:
    path = store.join(s3_folder, "manifest.json")
    store.write_whole(path, b'{"rows": 1}')
    client = s3_client(s3_server)
    key = path.removeprefix(f"s3://{BUCKET}/")
    metadata = client.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    client.put_object(Bucket=BUCKET, Key=key, Body=b'{"rows": 2}', Metadata=metadata)
    set_retry_policy(StorageConfig(attempts=2, backoff_s=0.001))
    with pytest.raises(StorageError, match=r"manifest\.json.*does not fit the sha256"):
        store.read_bytes(path)


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_expired_credentials_are_read_again_once(
    fault_proxy: FaultProxy,
    s3_folder: str,
    events: Callable[[], dict[str, int]],
    method: str,
    code: str,
) -> None:
    path = store.join(s3_folder, "unit.bin")
    store.write_whole(path, b"x")
    expired = Status(403 if code != "ExpiredToken" else 400, code)
    calls: dict[str, Callable[[], Any]] = {
        "GET": lambda: store.read_bytes(path),
        "PUT": lambda: store.write_whole(path, b"x"),
        "HEAD": lambda: store.identify(path),
    }
    # A HEAD has no body to say why; the GET that asks does.
    # Twice, because botocore takes a HEAD answered with 400 for one that went to a wrong region.
    fault_proxy.add(Rule(expired, method=method, nth=(1, 2) if method == "HEAD" else (1,)))
    fault_proxy.add(Rule(expired, method="GET", nth=(1,) if method == "HEAD" else ()))
    calls[method]()
    assert events() == {"credential_refreshes": 1}
    fault_proxy.clear()
    fault_proxy.add(Rule(expired))
    with pytest.raises(AccessDeniedError, match="have expired"):
        calls[method]()
    assert events() == {"credential_refreshes": 2}


def test_rotated_credentials_are_taken_up(
    s3_server: S3Server,
    fault_proxy: FaultProxy,
    s3_folder: str,
    rotate: Callable[[str], None],
) -> None:
    """The process need not restart."""
    fault_proxy.add(Rule(ExpiredUnless(s3_server.access_key)))
    rotate("old")
    with pytest.raises(AccessDeniedError, match="have expired"):
        store.list_names(s3_folder)
    rotate(s3_server.access_key)
    assert store.list_names(s3_folder) == []


@pytest.mark.parametrize("call", ["list_files", "read_bytes", "exists", "create", "delete"])
def test_a_refusal_fails_at_once_and_says_what_to_check(
    fault_proxy: FaultProxy, s3_folder: str, events: Callable[[], dict[str, int]], call: str
) -> None:
    path = store.join(s3_folder, "unit.bin")
    fault_proxy.add(Rule(Status(403, "AccessDenied")))
    with pytest.raises(AccessDeniedError, match=r"unit\.bin: may not be .* check the credentials"):
        if call == "create":
            store.create_if_absent(path, b"x")
        else:
            getattr(store, call)(path)
    assert len(fault_proxy.hits) <= 2, "one request, and one more to learn why a HEAD was refused"
    assert events() == {}


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch.*check AWS_ACCESS_KEY_ID"),
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId.*check AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_keys_are_refused_by_the_server_itself(
    s3_server: S3Server,
    s3_folder: str,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    message: str,
) -> None:
    monkeypatch.setenv(variable, "wrong")
    if not s3_server.checks_keys:
        assert store.list_names(s3_folder) == []
        return
    with pytest.raises(AccessDeniedError, match=message):
        store.list_names(s3_folder)


def test_no_keys_at_all(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AccessDeniedError, match=r"Unable to locate credentials.*AWS_PROFILE"):
        store.list_names(s3_folder)


def test_a_wrong_clock_is_named(fault_proxy: FaultProxy, s3_folder: str) -> None:
    fault_proxy.add(Rule(Status(403, "RequestTimeTooSkewed")))
    with pytest.raises(AccessDeniedError, match="the clock of this machine is wrong"):
        store.list_names(s3_folder)


def test_a_store_that_ignores_conditions_is_found_out(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    fault_proxy.add(Rule(IGNORE_CONDITIONS, method="PUT"))
    found = probe(s3_folder)
    assert (found.create, found.replace) == (False, False)
    assert "8 of 8 writers created the same file" in found.detail
    assert "8 of 8 writers replaced the same version" in found.detail
    assert store.list_names(s3_folder) == []


def test_the_probe_survives_a_storm(fault_proxy: FaultProxy, s3_folder: str) -> None:
    fault_proxy.add(Rule(SLOW_DOWN, probability=0.2), Rule(LoseAnswer(), "PUT", probability=0.2))
    found = probe(s3_folder)
    assert (found.create, found.replace) == (True, True), found.detail


def test_unfinished_uploads_are_found_in_their_folder_and_aborted(
    s3_server: S3Server, s3_folder: str
) -> None:
    client = s3_client(s3_server)
    prefix = s3_folder.removeprefix(f"s3://{BUCKET}/")
    keys = [f"{prefix}/runs/a", f"{prefix}/runs/deep/b", f"{prefix}/runs-of-others/c"]
    for key in keys:
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)
        client.upload_part(
            Bucket=BUCKET, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x"
        )
    folder = store.join(s3_folder, "runs")
    assert store.list_names(folder) == [], "readers do not see them"
    found = store.list_uploads(folder)
    assert [upload.path for upload in found] == [f"s3://{BUCKET}/{key}" for key in keys[:2]]
    assert all(upload.started < datetime.now(UTC) + timedelta(hours=1) for upload in found)
    for upload in [*found, found[0]]:
        store.abort_upload(upload)
    assert store.list_uploads(folder) == []
    left = store.list_uploads(s3_folder)
    assert [upload.path for upload in left] == [f"s3://{BUCKET}/{keys[2]}"]
    assert store.list_temporary(s3_folder) == []


def test_listings_of_many_pages(
    s3_server: S3Server, s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = S3FileSystem.send

    def in_small_pages(
        self: S3FileSystem, attempts: Attempts, operation: str, *options: Any, **query: Any
    ) -> Any:
        # Of these, an operation takes the one that it has.
        limits = {"MaxKeys": 3, "MaxUploads": 3}
        return send(self, attempts, operation, limits, *options, **query)

    names = [f"{i:02}.parquet" for i in range(8)]
    for name in names:
        store.create_if_absent(store.join(s3_folder, name), name.encode())
        key = store.join(s3_folder, "uploads", name).removeprefix(f"s3://{BUCKET}/")
        s3_client(s3_server).create_multipart_upload(Bucket=BUCKET, Key=key)
    monkeypatch.setattr(S3FileSystem, "send", in_small_pages)
    assert store.list_names(s3_folder) == names
    assert [file.path[-10:] for file in store.list_files(s3_folder)] == names
    assert [upload.path[-10:] for upload in store.list_uploads(s3_folder)] == names


def test_no_secret_leaves_the_process(s3_server: S3Server, s3_folder: str) -> None:
    store.write_whole(store.join(s3_folder, "a.parquet"), b"x")
    client = S3()
    assert client.children(s3_folder)[0] == ["a.parquet"]
    held = [client, *store.list_files(s3_folder), StorageConfig()]
    text = pickle.dumps(held) + repr(held).encode() + repr(vars(client)).encode()
    assert s3_server.secret_key.encode() not in text
    copy = pickle.loads(pickle.dumps(client))
    assert copy.children(s3_folder)[0] == ["a.parquet"]
    with (
        store.open_input(store.join(s3_folder, "a.parquet")) as file,
        pytest.raises((TypeError, AttributeError)),
    ):
        pickle.dumps(file)
