"""Several linear layers as one give what they give apart."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pipeline.networks.linears.joined import JoinedLinear


@pytest.mark.parametrize("bias", [True, False])
def test_one_product_is_several_side_by_side(bias: bool) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, size, bias=bias) for size in (6, 2, 4)]
    joined = JoinedLinear(copy.deepcopy(layers), join=True)
    rows = torch.randn(5, 6)
    assert len(joined.layers) == 1
    for got, layer in zip(joined(rows), layers, strict=True):
        torch.testing.assert_close(got, layer(rows), atol=1e-6, rtol=0)


def test_on_a_cpu_and_with_layers_of_another_form_they_stay_apart() -> None:
    plain = [nn.Linear(3, 3), nn.Linear(3, 3)]
    assert len(JoinedLinear(plain).layers) == 2

    class Quantised(nn.Linear):
        pass

    mixed = JoinedLinear([nn.Linear(3, 2), Quantised(3, 4)], join=True)
    assert len(mixed.layers) == 2
    assert [part.shape[1] for part in mixed(torch.randn(1, 3))] == [2, 4]
