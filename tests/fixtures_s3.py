"""Fixtures for tests that need an object store: a real one where it is installed, and a broken one.

``RERANK_TEST_S3=rgw|moto`` chooses the server; by default it is Ceph's RADOS Gateway where its
packages are installed and moto where they are not. The last lines of the test report say which.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import rgw
from tests.support.fault_proxy import FaultProxy
from tests.support.s3_server import S3Server

BUCKET = "rerank"
_RAN = pytest.StashKey[str]()
_RAN_KEY = "s3_server"


@pytest.fixture(scope="session")
def s3_server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """The server of this session, with an empty bucket ``rerank``."""
    from botocore.loaders import create_loader

    wanted = os.environ.get("RERANK_TEST_S3") or ("rgw" if rgw.installed() else "moto")
    with _server(wanted) as server, pytest.MonkeyPatch.context() as patch:
        # Nearly every test has an endpoint, and so a client, of its own; what botocore knows about
        # AWS's services takes longer to parse than most of them, and is parsed once here.
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        request.config.stash[_RAN] = server.name
        s3_client(server).create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def s3_folder(
    s3_server: S3Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A folder of the server for one test, and the environment to reach it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    slug = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    return f"s3://{BUCKET}/{slug}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def fault_proxy(
    s3_server: S3Server, s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    """A proxy without rules between this test and the server; ``s3_folder`` goes through it."""
    with FaultProxy(s3_server.url, credentials=s3_server.credentials) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def s3_client(server: S3Server) -> Any:
    """boto3's client, to look at the store past our own code."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that started this one which server it was, where tests run in several."""
    ran = session.config.stash.get(_RAN, None)
    if ran is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_RAN_KEY] = ran


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Hear it."""
    ran = getattr(node, "workeroutput", {}).get(_RAN_KEY)
    if ran is not None:
        node.config.stash[_RAN] = ran


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which server the tests ran against."""
    ran = config.stash.get(_RAN, None)
    if ran is not None:
        terminalreporter.write_line(f"S3 server: {ran}")


@contextmanager
def _server(wanted: str) -> Iterator[S3Server]:
    if wanted == "rgw":
        # A short path: the daemons' Unix sockets may have names of 107 bytes at most.
        with tempfile.TemporaryDirectory(prefix="rgw-") as root, rgw.rgw(Path(root)) as server:
            yield server
    elif wanted == "moto":
        with _moto() as server:
            yield server
    else:
        raise pytest.UsageError(f"RERANK_TEST_S3={wanted}: expected rgw or moto")


@contextmanager
def _moto() -> Iterator[S3Server]:
    from importlib.metadata import version

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    name = f"moto {version('moto')}, an emulator; install radosgw, ceph-mon and ceph-osd for Ceph"
    try:
        yield S3Server(
            name=name,
            url=f"http://{host}:{port}",
            access_key="test",
            secret_key="test-secret",
            checks_keys=False,
            checks_content=False,
        )
    finally:
        server.stop()
