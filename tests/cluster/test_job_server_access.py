"""Who is sent a job and a token: nobody in clear, nobody that the address does not name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster.job_server_access import check_job_server
from pipeline.errors import ConfigurationError, NotFoundError
from tests.execution.cluster.processes import free_ports, machine_address
from tests.makers import long_table, write
from tests.support.ray_servers import job_server

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = machine_address()
needs_network = pytest.mark.skipif(ELSEWHERE == "127.0.0.1", reason="needs a network interface")


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who never used Ray; what the code sets is put back."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def check(url: str, *, insecure: bool = False, plain_http: bool = False) -> None:
    check_job_server(url, insecure=insecure, plain_http=plain_http)


@needs_network
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_is_not_sent_in_clear_unless_somebody_says_so(status: int) -> None:
    with job_server(ELSEWHERE, status) as server:
        with pytest.raises(ConfigurationError, match=r"unencrypted.*port-forward.*--plain-http"):
            check(server.url, insecure=True)
        check(server.url, plain_http=True)
        assert server.tokens == [None, None]
    with job_server("127.0.0.1", status) as server:
        check(server.url)


@needs_network
def test_nor_to_a_server_that_does_not_ask_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "TOKEN")
    with job_server(ELSEWHERE, 200) as server:
        with pytest.raises(ConfigurationError, match="unencrypted"):
            check(server.url, insecure=True)
        check(server.url, insecure=True, plain_http=True)


@needs_network
def test_a_job_server_that_obeys_strangers_is_refused() -> None:
    with job_server(ELSEWHERE, 200) as server:
        with pytest.raises(ConfigurationError, match="obeys whoever reaches it"):
            check(server.url, plain_http=True)
        check(server.url, insecure=True)
    with job_server("127.0.0.1", 200) as server:
        check(server.url)


def test_what_is_no_job_server_is_said() -> None:
    with (
        job_server("127.0.0.1", 500) as server,
        pytest.raises(NotFoundError, match=r"answers there \(HTTP 500\)"),
    ):
        check(server.url)
    with pytest.raises(NotFoundError, match="no job server answers"):
        check(f"http://127.0.0.1:{free_ports(1)[0]}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_job_server_that_sends_on_is_refused(status: int) -> None:
    with (
        job_server("127.0.0.1", 200) as other,
        job_server("127.0.0.1", status, location=other.url) as server,
    ):
        with pytest.raises(NotFoundError, match="sends us on to"):
            check(server.url)
        assert other.tokens == []


@pytest.mark.parametrize(
    "address",
    ["ray://head:10001", "head:8265", "file:///etc/passwd", "ftp://head", "http://", "auto",
     "http://head:port", "http://head:99999999", "http://[::1", "python_module://head"],
)  # fmt: skip
def test_other_kinds_of_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="give the job server"):
        check(address, insecure=True, plain_http=True)


@pytest.mark.parametrize(
    "address",
    ["http://me:s3cret@head:8265", "https://s3cret@head", "http://head:8265/?token=s3cret",
     "http://head:8265#s3cret", "ray://me:s3cret@head", "http://me:s3cret@[::1"],
)  # fmt: skip
def test_a_secret_in_the_address_is_not_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(address, insecure=True, plain_http=True)
    assert "s3cret" not in str(caught.value)


def test_this_machine_is_reached_past_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests.utils

    monkeypatch.setenv("no_proxy", "example.com")
    with job_server("127.0.0.1", 401) as proxy, job_server("127.0.0.1", 401) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        check(server.url)
        assert (proxy.tokens, server.tokens) == ([], [None])
        assert not requests.utils.get_environ_proxies(server.url)
    assert requests.utils.should_bypass_proxies("http://example.com", None)


def submit(tmp_path: Path, address: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of somebody whose environment says that tokens are sent."""
    source = write(tmp_path / "in.parquet", long_table(2))
    job = tmp_path / "job.yaml"
    job.write_text(
        f"model: {{name: lexical}}\ninput: {{path: {source}}}\noutput: {{path: {tmp_path}/out}}\n"
    )
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t0ken" * 8, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "submit", "-c", str(job),
         "--address", address, *words],
        cwd=ROOT, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@needs_network
def test_the_command_sends_its_token_nowhere_in_clear(tmp_path: Path) -> None:
    with job_server(ELSEWHERE, 401) as server:
        done = submit(tmp_path, server.url)
        assert (done.returncode, server.tokens) == (2, [None]), done.stderr
        assert "--plain-http" in done.stderr
        submit(tmp_path, server.url, "--plain-http")
        assert server.tokens[2:] == ["Bearer " + "t0ken" * 8]


def test_rays_client_follows_no_redirect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cluster.job_server import JobServer

    with (
        job_server("127.0.0.1", 200) as other,
        job_server("127.0.0.1", 307, location=other.url) as server,
    ):
        with pytest.raises(NotFoundError, match="sends us on to"):
            JobServer.connect(server.url)
        assert (len(server.tokens), other.tokens) == (1, [])
