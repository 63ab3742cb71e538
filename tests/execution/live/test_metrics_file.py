"""A run's metrics in a file: whole at any moment, and with the end of the run at last."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import ConfigurationError, RunFailedError
from pipeline.execution.live import metrics_file
from pipeline.execution.live.metrics_file import MetricsFile, kept_in_file
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot
from tests.fixtures_runs import Rerank
from tests.makers import long_table, write

LABELS = {"run_id": "r", "model": 'a "model"\nof \\ mine', "epoch": "2"}


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """Values by name and the label that is the metric's own, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        for sample in family.samples:
            own = [v for k, v in sample.labels.items() if k not in LABELS]
            found[(sample.name, *own)] = sample.value
    return found


def test_a_run_leaves_its_last_numbers_and_its_end(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    file = tmp_path / "rerank.prom"
    source = write(tmp_path / "in.parquet", long_table(6))
    outcome = rerank_in_process(source, metrics={"file": str(file)})
    found = samples(file)
    assert found["ray_rerank_documents_total",] == outcome.manifest["documents"]
    assert found["ray_rerank_run_documents", "committed"] == outcome.manifest["documents"]
    assert found["ray_rerank_units", "done"] == found["ray_rerank_units", "planned"]
    assert found["ray_rerank_waiting", "done"] == 1
    assert found["ray_rerank_sessions_ended_total", "published"] == 1
    assert [path.name for path in tmp_path.glob("*.prom*")] == ["rerank.prom"]


def test_it_says_how_a_run_failed_and_labels_are_as_they_were_given(tmp_path: Path) -> None:
    file = tmp_path / "x.prom"
    monitor = Monitor(lambda phase: Snapshot(waiting_for=phase, units=3))
    with pytest.raises(RunFailedError), kept_in_file(monitor, str(file), LABELS):
        monitor.look()
        assert samples(file)["ray_rerank_units", "planned"] == 3
        raise RunFailedError("x")
    assert samples(file)["ray_rerank_sessions_ended_total", "failed"] == 1
    [family, *_] = text_string_to_metric_families(file.read_text(encoding="utf-8"))
    assert family.samples[0].labels == LABELS


def test_a_file_that_cannot_be_written_is_told_at_once_and_later_only_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(lambda phase: Snapshot())
    nowhere = str(tmp_path / "no" / "x.prom")
    with (
        pytest.raises(ConfigurationError, match=r"metrics\.file: .*No such file"),
        kept_in_file(monitor, nowhere, LABELS),
    ):
        pass
    folder = tmp_path / "gone"
    folder.mkdir()
    with kept_in_file(monitor, str(folder / "x.prom"), LABELS):
        (folder / "x.prom").unlink()
        folder.rmdir()
        monitor.look()
        assert not folder.exists()
    folder.mkdir()
    metrics = MetricsFile(str(folder / "x.prom"), LABELS)
    monkeypatch.setattr(metrics_file, "_EVERY_S", 0.0)
    (folder / "x.prom").unlink()
    folder.rmdir()
    metrics(Snapshot())
    metrics(Snapshot())
    folder.mkdir()
    metrics(Snapshot(documents_scored=9))  # there is room again
    assert "ray_rerank_documents_total{" in (folder / "x.prom").read_text()


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    with kept_in_file(Monitor(lambda phase: Snapshot()), None, LABELS):
        pass
    assert not list(tmp_path.iterdir())
