import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sequences.lengths import EDGES, LengthHistogram

LENGTHS = st.lists(st.integers(0, 2**21), max_size=50)


def test_bins_are_a_quarter_of_an_octave_up_to_2_to_the_20():
    assert EDGES[:6] == (0, 16, 19, 22, 26, 32)
    assert EDGES[-1] == 2**20
    assert list(EDGES) == sorted(set(EDGES))


@pytest.mark.parametrize("length, name", [(0, "0"), (1, "16"), (16, "16"), (17, "19")])
def test_a_length_has_the_bin_that_it_does_not_exceed(length, name):
    assert LengthHistogram.of([length]).as_dict() == {"tokens": length, name: 1}


def test_what_no_model_reads_has_a_bin_all_the_same():
    assert LengthHistogram.of([2**20, 2**20 + 1]).as_dict() == {
        "tokens": 2**21 + 1,
        "1048576": 1,
        "longer": 1,
    }


@given(LENGTHS, LENGTHS)
def test_sums_are_those_of_all_lengths_together(first, second):
    both = LengthHistogram.of(first).add(LengthHistogram.of(second))
    assert both.as_dict() == LengthHistogram.of(first + second).as_dict()
    assert both.total_tokens == sum(first) + sum(second)
    assert both.sequences == len(first) + len(second)


@given(LENGTHS)
def test_there_and_back(lengths):
    histogram = LengthHistogram.of(lengths)
    assert LengthHistogram.from_dict(histogram.as_dict()).as_dict() == histogram.as_dict()


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_in_the_bin_of_the_length_that_it_stands_for(lengths, q):
    ordered = np.sort(lengths)
    exact = ordered[max(0, int(np.ceil(q * len(ordered))) - 1)]
    place = int(np.searchsorted(EDGES, exact))
    found = LengthHistogram.of(lengths).quantile(q)
    assert EDGES[max(0, place - 1)] <= found <= EDGES[place]


def test_nothing_has_a_mean_and_quantiles_of_0():
    assert (LengthHistogram().mean, LengthHistogram().quantile(0.5)) == (0.0, 0.0)


@pytest.mark.parametrize("content", [{"17": 1}, {"16": 0.5}, {"16": -1}, {"tokens": -1}])
def test_what_is_no_histogram_is_refused(content):
    with pytest.raises(ValueError, match=r"no bin|no count"):
        LengthHistogram.from_dict(content)


def test_a_quantile_of_more_than_everything_is_refused():
    with pytest.raises(ValueError, match="share from 0 to 1"):
        LengthHistogram.of([1]).quantile(1.5)
