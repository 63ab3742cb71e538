"""Fixtures for tests of feeds: real servers of their own, where Debian's packages are installed."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import feed_servers


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of this session."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed; Debian's package redis-server has it")
    folder = tempfile.TemporaryDirectory(prefix="redis-")
    with folder as name, feed_servers.redis_server(Path(name)) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_address() -> Iterator[str]:
    """A PostgreSQL of this session."""
    if feed_servers.postgresql_programs() is None:
        pytest.skip("postgres is not installed; Debian's package postgresql has it")
    folder = tempfile.TemporaryDirectory(prefix="pg-")
    with folder as name, feed_servers.postgresql_server(Path(name)) as url:
        yield url


@pytest.fixture
def fresh_name() -> str:
    """A name that nothing on a server of the session has yet."""
    return f"t{uuid.uuid4().hex[:12]}"
