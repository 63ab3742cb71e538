"""A real Prometheus scrapes a real run: dashboard and alerts ask for what is there."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from pipeline.execution.live import metrics
from tests.execution.cluster.processes import free_ports, kill_tree, wait_for
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf" / "monitoring"

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None and not os.environ.get("CI"),
    reason="needs Debian's package prometheus, which .ci/run installs",
)

#: Ray's own, by which an alert knows that a Ray session is still there.
_OF_RAY = {"ray_node_cpu_count"}


def queries() -> list[str]:
    """Every expression of the dashboard, as Grafana sends it for all runs."""
    board = json.loads((CONF / "grafana.json").read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [expr.replace("$run", ".+").replace("$__rate_interval", "10s") for expr in found]


def alerts() -> list[str]:
    [group] = yaml.safe_load((CONF / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule["expr"] for rule in group["rules"]]


def test_the_files_are_what_prometheus_and_grafana_take() -> None:
    for words in (
        ["check", "config", "--syntax-only", str(CONF / "prometheus.yml")],
        ["check", "rules", str(CONF / "alerts.yml")],
        ["test", "rules", "tests/monitoring/alerts_test.yml"],
    ):
        done = subprocess.run(["promtool", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    board = json.loads((CONF / "grafana.json").read_text(encoding="utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_they_ask_for_our_metrics_and_for_all_of_them() -> None:
    asked = set(re.findall(r"\bray_\w+", " ".join([*queries(), *alerts()])))
    assert asked == {metric.series for metric in metrics.ALL} | _OF_RAY
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for metric in metrics.ALL:
        assert f"`{metric.series}`" in page


@contextmanager
def collected(path: Path, port: int) -> Iterator[None]:
    """What node_exporter's textfile collector does: a file, as it is, on a port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(path.read_bytes() if path.exists() else b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prometheus(folder: Path, ray: int, node: int) -> Iterator[str]:
    """Debian's Prometheus with our configuration, but for ports and intervals; its URL."""
    [port] = free_ports(1)
    text = (CONF / "prometheus.yml").read_text(encoding="utf-8")
    for ours, here in (("8090", ray), ("9100", node), ("15s", "1s")):
        assert ours in text
        text = text.replace(ours, str(here))
    (folder / "prometheus.yml").write_text(text.replace("alerts.yml", str(CONF / "alerts.yml")))
    process = subprocess.Popen(
        [
            "prometheus", f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/db",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def asked(url: str, path: str, **parameters: str) -> Any:
    """Data of an answer; None while nobody answers."""
    try:
        full = f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(full, timeout=30) as reply:
            return json.load(reply)["data"]
    except OSError:
        return None


def found(url: str, expr: str) -> list[Any]:
    """Series that an expression has now."""
    answer = asked(url, "query", query=expr)
    return [] if answer is None else answer["result"]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job at a pace, one document of which has no text."""
    (tmp_path / "pace").write_text("0.02")
    table = long_table(60)
    texts = table["text"].to_pylist()
    texts[3] = None
    table = table.set_column(table.column_names.index("text"), "text", pa.array(texts))
    family = {"family": "benchmarks.fixed_cost", "settings": {"pace": str(tmp_path / "pace")}}
    settings = {
        "model": family,
        "input": {"path": str(write(tmp_path / "in.parquet", table, row_group_size=5))},
        "output": {"path": str(tmp_path / "out")},
        "units": {"documents": 10},
        "ray": {"mode": "cluster", "read_cpus": 0.5},
        "replicas": {"min": 1, "max": 1, "num_cpus": 0.5, "num_gpus": 0},
        "metrics": {"file": str(tmp_path / "rerank.prom")},
        "lease": {"ttl_s": 6.0},  # renewed every other second
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return tmp_path / "job.yaml"


def test_a_run_is_scraped_and_every_query_and_alert_answers(job: Path, tmp_path: Path) -> None:
    ray, node = free_ports(2)
    words = [
        sys.executable, "-m", "jobs.rerank", "-c", str(job), "--set", f"ray.metrics_port={ray}",
        "--allow-code", "benchmarks.fixed_cost",
    ]  # fmt: skip
    # Ray sends its numbers on every ten seconds.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_metrics_report_interval_ms": "1000"}
    with (
        collected(tmp_path / "rerank.prom", node),
        prometheus(tmp_path, ray, node) as url,
        (tmp_path / "log").open("w") as log,
    ):
        run = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            through_ray = 'max(ray_rerank_units{job="rerank-local", state="done"}) >= 3'
            wait_for(lambda: found(url, through_ray) or run.poll() is not None, "three units")
            assert run.poll() is None, (tmp_path / "log").read_text()
            of_the_end = {metrics.ENDED.series}
            for expr in queries():
                names = set(re.findall(r"\bray_\w+", expr))
                if not names & (of_the_end):
                    wait_for(lambda expr=expr: found(url, expr), expr, seconds=30)
            for job_name in ("rerank-local", "node"):
                names = {
                    series["metric"]["__name__"]
                    for series in found(url, f'{{job="{job_name}", __name__=~"ray_.+"}}')
                }
                expected = {metric.series for metric in metrics.METRICS}
                # A counter that Ray has never counted is not there.
                assert expected - names <= {"ray_rerank_retries_total"}
            same_ray = 'ray_node_cpu_count and on (SessionName) {job="rerank-local", run_id!=""}'
            wait_for(lambda: found(url, same_ray), same_ray, seconds=30)
            (tmp_path / "pace").write_text("0")
            assert run.wait(120) == 0, (tmp_path / "log").read_text()
        finally:
            kill_tree(run.pid)
            run.wait()
        ended = 'ray_rerank_sessions_ended_total{job="node", state="published"}'
        [series] = wait_for(lambda: found(url, ended), "the end", seconds=30)
        assert series["value"][1] == "1"
        for expr in queries():
            assert metrics.ENDED.series not in expr or found(url, expr)
        [group] = asked(url, "rules")["groups"]
        assert [rule["health"] for rule in group["rules"]] == ["ok"] * len(alerts())
        assert not asked(url, "alerts")["alerts"]
