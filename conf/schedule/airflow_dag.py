"""A refresh every night, by Airflow (3.0 or newer); put this file into the folder of DAGs.

Change these to yours: ``CONFIG``, ``RERANK``, the hour, and who is told of a failure. The worker
needs this package, or, where the work is a Ray cluster's, ``rerank submit`` with ``--address``.
"""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pendulum
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk import DAG, task
from airflow.timetables.interval import CronDataIntervalTimetable

RERANK = "/opt/rerank/bin/rerank"
CONFIG = "/etc/rerank/refresh.yaml"

#: Exit codes after which the same again ends in the same way: configuration, input, quarantine,
#: gates, access. Somebody has to look.
FINAL = {2, 3, 6, 7, 77}

#: Another refresh is at work, or has published meanwhile.
HELD = 75

with DAG(
    dag_id="rerank_refresh",
    # An interval is a day, so that a night that was missed has its own date when it is caught up.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=True,
    # One after the other and in order: each builds on the publication of the one before.
    max_active_runs=1,
    default_args={
        "depends_on_past": True,
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=22),
    },
    tags=["search"],
):

    @task
    def refresh(data_interval_end: pendulum.DateTime | None = None) -> None:
        """One night; an attempt goes on where the one before it was."""
        assert data_interval_end is not None  # from the context of the task
        night = data_interval_end.in_timezone("UTC").to_date_string()
        command = [RERANK, "refresh", "-c", CONFIG, "--date", night]
        code = subprocess.run(command, check=False).returncode
        if code == HELD:
            raise AirflowSkipException("another refresh is at work, or has published meanwhile")
        if code in FINAL:
            raise AirflowFailException(f"exit code {code}: trying again would not help")
        if code:
            raise AirflowException(f"exit code {code}: the next attempt goes on from here")

    refresh()
