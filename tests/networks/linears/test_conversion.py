"""Linear layers in other forms: which are replaced, and what quantised ones compute."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.engine import processor
from pipeline.networks.linears import float8, int8
from pipeline.networks.linears.conversion import Shared, convert_linears, places, products_in
from pipeline.networks.linears.float8 import Float8Linear
from pipeline.networks.linears.int8 import Int8Linear

CPU = torch.device("cpu")

#: Without them sums are cut off, and the engine refuses int8.
exact_sums = pytest.mark.skipif(not processor.has_int8(), reason="no instructions for int8 sums")


def linear(inputs: int = 48, outputs: int = 32, *, bias: bool = True) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


def rows(count: int, width: int = 48, *, seed: int = 0) -> torch.Tensor:
    """Rows of very different sizes, the first of zeros."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, width, generator=generator)
    found *= 10.0 ** torch.randint(-4, 5, (count, 1), generator=generator)
    found[0] = 0
    return found


def in_int8(layer: nn.Linear, *, gelu: bool = False) -> Int8Linear:
    return Int8Linear(layer, gelu=gelu, quantise=Shared(int8.quantise_rows))


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 9))
def test_a_code_is_within_half_a_step_of_its_number(count: int, width: int, seed: int) -> None:
    numbers = rows(count, width, seed=seed)
    codes, scales = int8.quantise_rows(numbers)
    assert codes.dtype == torch.uint8
    assert scales.shape == (count, 1)
    back = (codes.float() - 128) * scales
    assert ((back - numbers).abs() <= scales * 0.5001).all()
    assert (codes[1:].int() - 128).abs().amax(1).eq(127).all()
    assert codes[0].eq(128).all()


@exact_sums
def test_the_integer_product_is_that_of_its_codes() -> None:
    layer, numbers = linear(), rows(40)
    codes, scales = int8.quantise_rows(numbers)
    weights, widths = int8.quantise_weights(layer.weight)
    sums = (codes.long() - 128) @ weights.long().t()
    wanted = sums.double() * scales * widths + layer.bias
    torch.testing.assert_close(in_int8(layer)(numbers).double(), wanted, rtol=1e-5, atol=1e-6)


@exact_sums
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gelu", [False, True])
def test_int8_is_near_the_exact_product(bias: bool, gelu: bool) -> None:
    layer, numbers = linear(bias=bias), torch.nn.functional.layer_norm(rows(40), (48,))
    wanted = nn.functional.gelu(layer(numbers)) if gelu else layer(numbers)
    found = in_int8(layer, gelu=gelu)(numbers.view(4, 10, 48))
    assert found.shape == (4, 10, 32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.view(40, 32), wanted, rtol=0, atol=0.03)


def test_a_row_has_the_same_bits_whatever_is_beside_it() -> None:
    layer = in_int8(linear(), gelu=True)
    many = rows(int8._CHUNK + 7)
    whole = layer(many)
    for place in (0, 1, int8._CHUNK - 1, int8._CHUNK + 3):
        assert torch.equal(layer(many[place : place + 1].clone())[0], whole[place])


def test_what_is_no_number_stays_in_its_row() -> None:
    layer, numbers = in_int8(linear()), rows(5)
    clean = layer(numbers.clone())
    numbers[2, 3] = torch.nan
    found = layer(numbers)
    assert not found[2].isfinite().any()
    assert torch.equal(found[[0, 1, 3, 4]], clean[[0, 1, 3, 4]])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@given(st.integers(0, 50))
def test_float8_codes_fill_the_format_and_none_overflows(dtype: torch.dtype, seed: int) -> None:
    numbers = rows(30, seed=seed).to(dtype)
    codes, scales = float8.quantise_rows(numbers)
    assert codes.dtype == torch.float8_e4m3fn
    assert (codes.shape, scales.shape, scales.dtype) == ((30, 48), (30, 1), torch.float32)
    assert codes.float().isfinite().all()
    assert codes[1:].float().abs().amax(1).ge(416).all()  # 448, or the number below it
    back = codes.float() * scales
    # 3 bits of mantissa: half a step is a sixteenth of a number; below 2^-6 steps are 2^-9.
    allowed = numbers.float().abs() / 16 * 1.07 + scales * 2**-10 * 1.01
    assert ((back - numbers.float()).abs() <= allowed).all()


def test_the_float8_product_is_that_of_its_codes() -> None:
    layer, numbers = linear().bfloat16(), rows(32).bfloat16()
    codes, scales = float8.quantise_rows(numbers)
    weights, widths = float8.quantise_weights(layer.weight)
    wanted = (codes.float() * scales) @ (weights.float() * widths).t() + layer.bias.float()
    quantise = Shared(float8.quantise_rows)
    found = Float8Linear(layer, gelu=False, quantise=quantise)(numbers)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=2**-7, atol=1e-2)


class Attention(nn.Module):
    """Three products of the same rows, and one of others."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (linear(48, 48) for _ in range(4))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.output(self.query(hidden) * self.key(hidden) + self.value(hidden))


@exact_sums
def test_rows_that_layers_share_are_quantised_once() -> None:
    asked: list[int] = []

    def quantise(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(numbers))
        return int8.quantise_rows(numbers)

    shared = Shared(quantise)
    network = Attention()
    wanted = int8_network(Attention())(rows(6))
    for place in places(network):
        place.replace(Int8Linear(place.linear, gelu=False, quantise=shared))
    assert torch.equal(network(rows(6)), wanted)
    assert asked == [6, 6]
    assert shared._quantised is None  # gone with the rows
    network(rows(3))
    assert asked == [6, 6, 3, 3]


def int8_network(network: nn.Module) -> nn.Module:
    """Each layer with its own quantiser."""
    for place in places(network):
        place.replace(in_int8(place.linear))
    return network


def network_with_a_head() -> nn.ModuleDict:
    head = nn.Sequential(linear(48, 48), linear(48, 1))
    head.register_forward_pre_hook(lambda _, args: args)
    table = nn.Embedding(64, 48)
    tied = linear(48, 64)
    tied.weight = table.weight
    return nn.ModuleDict(
        {"body": linear(48, 96), "odd": linear(20, 24), "few": linear(48, 15), "head": head}
        | {"table": table, "tied": tied}
    )


def test_heads_tied_weights_and_small_outputs_are_not_quantised() -> None:
    network = network_with_a_head()
    with products_in("int8") as conversion:
        convert_linears(network, CPU)
    quantised = {n for n, module in network.named_modules() if isinstance(module, Int8Linear)}
    assert quantised == {"body", "odd"}
    assert conversion.quantised == 2


def test_float8_takes_sizes_that_the_kernel_takes() -> None:
    network = network_with_a_head().bfloat16()
    with products_in("float8") as conversion:
        convert_linears(network, CPU)
    quantised = {n for n, module in network.named_modules() if isinstance(module, Float8Linear)}
    assert quantised == {"body"}
    assert conversion.quantised == 1


def test_nothing_is_quantised_where_nobody_asks() -> None:
    network = network_with_a_head()
    with products_in("int8"):
        pass
    convert_linears(network, CPU)
    assert not any(isinstance(module, Int8Linear) for module in network.modules())
