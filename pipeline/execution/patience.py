"""The ``storage`` section of a job, in force in the process that reads it."""

from __future__ import annotations

from pipeline.config import StorageConfig
from pipeline.storage.policy import StoragePolicy, use_policy


def be_patient_as(settings: StorageConfig) -> None:
    """Make the job's patience with stores that of this process: its driver, or one of its workers.

    Raises:
        TypeError: settings and policy have grown apart; a test sees to it that they have not.
    """
    use_policy(StoragePolicy(**settings.model_dump()))
