"""What a replica says of itself, in the middle of a unit as well."""

from __future__ import annotations

import pytest

from pipeline.engine.statistics import Stopwatch
from pipeline.execution.units.replica_reports import ReplicaReport, ReplicaReporter


@pytest.fixture
def reporter() -> ReplicaReporter:
    made = ReplicaReporter(lambda report: None, replica="r")
    made.close()  # its thread takes no report in between; it counts all the same
    return made


def ended() -> Stopwatch:
    import torch

    with Stopwatch(torch.device("cpu")) as watch:
        pass
    return watch


def test_documents_of_a_unit_count_by_the_share_of_its_sequences(
    reporter: ReplicaReporter,
) -> None:
    with reporter.unit("u", documents=20, sequences=10, rounds=False) as batches:
        assert reporter.report().units == {"u": 0}
        batches.add(ended(), sequences=5, tokens=50)
        report = reporter.report()
        assert (report.documents, report.tokens, report.units) == (10, 50, {"u": 10})
    report = reporter.report()
    assert (report.documents, report.tokens, report.units) == (20, 50, {"u": 20})
    assert reporter.report().units == {}, "a unit that has ended is named once"
    assert reporter.report().documents == 20


def test_where_rounds_follow_only_tokens_count_before_the_end(reporter: ReplicaReporter) -> None:
    with reporter.unit("u", documents=20, sequences=10, rounds=True) as batches:
        batches.add(ended(), sequences=10, tokens=50)
        assert (reporter.report().documents, reporter.report().tokens) == (0, 50)
    assert reporter.report().documents == 20


def test_a_unit_that_raises_has_scored_what_it_had(reporter: ReplicaReporter) -> None:
    with (
        pytest.raises(KeyError),
        reporter.unit("u", documents=20, sequences=10, rounds=False) as batches,
    ):
        batches.add(ended(), sequences=5, tokens=50)
        raise KeyError
    assert (reporter.report().documents, reporter.report().tokens) == (10, 50)


def test_reports_come_from_the_start_to_the_end_and_a_listener_that_has_gone_is_no_matter() -> None:
    sent: list[ReplicaReport] = []
    reporter = ReplicaReporter(sent.append, replica="r")
    reporter.ready("cpu")
    reporter.close()
    assert [(report.device, report.ended) for report in sent][:1] == [("", False)]
    assert (sent[-1].device, sent[-1].ended) == ("cpu", True)

    def gone(report: ReplicaReport) -> None:
        raise EOFError

    ReplicaReporter(gone).close()
