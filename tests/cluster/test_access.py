"""Nobody without the token gives orders to a Ray of ours, and open clusters are refused."""

from __future__ import annotations

import os
import stat
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from pipeline.cluster import access
from pipeline.cluster.access import (
    is_loopback,
    is_this_machine,
    protect_token_file,
    refuse_open_cluster,
    secure_local_ray,
)
from pipeline.errors import ConfigurationError, NotFoundError
from tests.execution.cluster.processes import machine_address
from tests.support.ray_servers import gcs

ELSEWHERE = machine_address()
needs_network = pytest.mark.skipif(ELSEWHERE == "127.0.0.1", reason="needs a network interface")


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person who never used Ray."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is put back whatever the code sets
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        secure_local_ray(insecure=False)
    finally:
        os.umask(old)
    token = tmp_path / ".ray" / "auth_token"
    assert (mode(token), mode(token.parent)) == (0o600, 0o700)
    assert len(token.read_text()) == 64
    before = token.read_bytes()
    secure_local_ray(insecure=False)
    assert token.read_bytes() == before
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]


@pytest.mark.parametrize("named", [False, True])
def test_a_token_that_all_can_read_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    if named:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    protect_token_file()
    assert (mode(token), token.read_text()) == (0o600, "secret")


def test_a_token_in_the_environment_needs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    protect_token_file()
    assert not (tmp_path / ".ray").exists()


def test_a_home_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match=r"auth_token: .*RAY_AUTH_TOKEN_PATH"):
        protect_token_file()


def test_many_at_once_make_one_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    contents = [str(number).encode() * 40 for number in range(8)]
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: access._create_whole(path, data), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_a_local_ray_without_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigurationError, match=r"RAY_AUTH_MODE=disabled .*insecure_cluster"):
        secure_local_ray(insecure=False)
    secure_local_ray(insecure=True)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("head.example.com", False),
        ("0.0.0.0", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@needs_network
def test_a_cluster_that_obeys_strangers_is_refused() -> None:
    with gcs(ELSEWHERE, None) as address:
        with pytest.raises(
            ConfigurationError, match=r"RAY_AUTH_MODE=token .*ray\.insecure_cluster"
        ):
            refuse_open_cluster(address, insecure=False)
        refuse_open_cluster(address, insecure=True)


def test_an_open_cluster_on_loopback_is_the_users_own() -> None:
    with gcs("127.0.0.1", None) as address:
        refuse_open_cluster(address, insecure=False)


@needs_network
def test_a_cluster_that_asks_for_a_token_is_taken() -> None:
    with gcs(ELSEWHERE, grpc.StatusCode.UNAUTHENTICATED) as address:
        refuse_open_cluster(address, insecure=False)


def test_what_is_no_cluster_is_said() -> None:
    with (
        gcs("127.0.0.1", grpc.StatusCode.UNIMPLEMENTED) as address,
        pytest.raises(NotFoundError, match=r"no Ray cluster answers .*UNIMPLEMENTED"),
    ):
        refuse_open_cluster(address, insecure=False)


@needs_network
def test_a_token_leaves_this_machine_only_when_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "is_this_machine", lambda _: False)  # as if far away
    with gcs(ELSEWHERE, grpc.StatusCode.UNAUTHENTICATED) as address:
        with pytest.raises(ConfigurationError, match=r"unencrypted.*RAY_AUTH_MODE=token"):
            refuse_open_cluster(address, insecure=True)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        refuse_open_cluster(address, insecure=False)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("[::1]", True),
        (ELSEWHERE, True),
        ("192.0.2.77", False),
        ("no-such-host.invalid", False),
    ],
)
def test_what_stays_on_this_machine(host: str, ours: bool) -> None:
    assert is_this_machine(host) is ours
