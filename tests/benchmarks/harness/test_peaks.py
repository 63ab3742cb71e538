from __future__ import annotations

import torch

from benchmarks.harness.peaks import Peak, matmul_peak


def test_the_peak_is_that_of_a_matrix_product() -> None:
    peak = matmul_peak(torch.device("cpu"))
    # Between one multiply-add a nanosecond and more than any processor has.
    assert 1e9 < peak.per_second < 1e15
    assert 1e9 < peak.per_cpu_second < 1e15


def test_the_median_is_taken_of_each_number() -> None:
    peaks = [Peak(per_second=a, per_cpu_second=b) for a, b in ((1.0, 9.0), (2.0, 8.0), (5.0, 0.0))]
    assert Peak.median(peaks) == Peak(per_second=2.0, per_cpu_second=8.0)
