from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.networks.pooling import MODES, pool


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    left_out=st.integers(0, 6),
    modes=st.lists(st.sampled_from(sorted(MODES)), min_size=1, max_size=3),
)
def test_pooling_is_the_librarys(lengths: list[int], left_out: int, modes: list[str]) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    width = max(lengths)
    states = torch.randn(len(lengths), width, 3, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    features = {"token_embeddings": states, "attention_mask": mask, "prompt_length": left_out}
    theirs = Pooling(3, modes, include_prompt=False)(features)["sentence_embedding"]
    skipped = np.full(len(lengths), left_out)
    ours = pool(states[mask.bool()], np.array(lengths), modes=modes, left_out=skipped)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_halves_are_summed_in_float32(mode: str) -> None:
    states = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)).half() + 1
    vectors = pool(states, np.array([4000]), modes=[mode])
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, pool(states.float(), np.array([4000]), modes=[mode]))
