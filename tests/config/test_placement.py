"""Replicas by GPUs, and GPUs by replicas."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config import ReplicasConfig


@pytest.mark.parametrize(
    ("each", "gpus", "replicas"),
    [
        (1, 8, 8), (2, 8, 4), (3, 8, 2), (0, 3, 3),
        (0.5, 2, 4), (1 / 3, 2, 6), (0.3, 4, 12), (0.7, 4, 4),
    ],
)  # fmt: skip
def test_a_share_is_that_of_one_gpu(each: float, gpus: int, replicas: int) -> None:
    """As Ray places them: three tenths of four GPUs are three replicas on each, not thirteen."""
    asked = ReplicasConfig(num_gpus=each)
    assert asked.fitting(gpus) == replicas
    assert gpus - max(each, 1) < asked.gpus_for(replicas) <= gpus


def test_a_replica_that_begins_a_gpu_holds_it() -> None:
    shares = ReplicasConfig(num_gpus=0.7)
    assert [shares.gpus_for(number) for number in (1, 2, 4)] == [1, 2, 4]
    assert [ReplicasConfig(num_gpus=0.5).gpus_for(number) for number in (1, 2, 3)] == [1, 1, 2]


def test_more_than_one_gpu_is_a_whole_number_of_them() -> None:
    with pytest.raises(ValidationError, match="whole number of GPUs, or a share of one"):
        ReplicasConfig(num_gpus=1.5)
