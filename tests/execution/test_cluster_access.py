"""Nobody without the token gives orders to a Ray of ours, and open clusters are refused."""

from __future__ import annotations

import http.server
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.execution import cluster_access
from pipeline.execution.cluster_access import (
    is_loopback,
    protect_token_file,
    refuse_open_cluster,
    refuse_open_dashboard,
    secure_local_ray,
)
from tests.execution.cluster.processes import free_ports, machine_address
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]
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
        list(pool.map(lambda data: cluster_access._create_whole(path, data), contents))
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


@contextmanager
def gcs(host: str, status: grpc.StatusCode | None) -> Iterator[str]:
    """What answers at a cluster's address: with ``status``, or as one that asks for nothing."""

    def cluster_id(request: bytes, context: grpc.ServicerContext) -> bytes:
        if status is not None:
            context.abort(status, "no")
        return b""

    handler = grpc.unary_unary_rpc_method_handler(cluster_id)
    service = "ray.rpc.NodeInfoGcsService"
    server = grpc.server(futures.ThreadPoolExecutor(1))
    methods = {"GetClusterId": handler}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    port = server.add_insecure_port(f"{host}:0")
    server.start()
    try:
        yield f"{host}:{port}"
    finally:
        server.stop(None)


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


@contextmanager
def job_server(host: str, status: int) -> Iterator[str]:
    """A job server that answers strangers with ``status``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/jobs/" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.HTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_network
@pytest.mark.parametrize("status", [401, 403])
def test_a_job_server_that_asks_for_a_token_is_taken(status: int) -> None:
    with job_server(ELSEWHERE, status) as url:
        refuse_open_dashboard(url, insecure=False)


@needs_network
def test_a_job_server_that_obeys_strangers_is_refused() -> None:
    with job_server(ELSEWHERE, 200) as url:
        with pytest.raises(ConfigurationError, match="obeys whoever reaches it"):
            refuse_open_dashboard(url, insecure=False)
        refuse_open_dashboard(url, insecure=True)
    with job_server("127.0.0.1", 200) as url:
        refuse_open_dashboard(url, insecure=False)


def test_what_is_no_job_server_is_said() -> None:
    with (
        job_server("127.0.0.1", 500) as url,
        pytest.raises(NotFoundError, match=r"answers there \(HTTP 500\)"),
    ):
        refuse_open_dashboard(url, insecure=False)


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("ray://head:10001", 2, "is no address of a cluster"),
        ("127.0.0.1:{port}", 4, "no cluster at"),
        ("head", 4, "no cluster at"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path: Path, address: str, code: int, message: str) -> None:
    source = write(tmp_path / "in.parquet", long_table(2))
    address = address.format(port=free_ports(1)[0])
    done = drive(tmp_path, source, "--set", f"ray.address={address}")
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


@pytest.mark.nightly
def test_a_local_ray_closes_its_token_and_ignores_other_clusters(tmp_path: Path) -> None:
    """A whole run of somebody who has no token and, once, another cluster in the environment."""
    source = write(tmp_path / "in.parquet", long_table(2))
    done = drive(tmp_path, source)
    assert done.returncode == 0, done.stderr
    assert mode(tmp_path / ".ray" / "auth_token") == 0o600
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    job = drive(
        tmp_path, source, "--set", "output.path=" + str(tmp_path / "b"), RAY_ADDRESS=nowhere
    )
    assert (job.returncode, f"no cluster at '{nowhere}'" in job.stderr) == (4, True), job.stderr


def drive(
    folder: Path, source: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    settings = {"model.name": "lexical", "input.path": source, "output.path": folder / "out"}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "jobs.rerank", *sets, *words],
        cwd=ROOT, env=plain | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
