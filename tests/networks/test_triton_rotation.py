"""The kernel for normalised and rotated heads, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

import pytest
import torch

from pipeline.networks.pointwise import _normed, _rotated
from pipeline.networks.triton_rotation import norm_rotate

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "tokens, queries, keys, dim", [(5, 4, 2, 16), (37, 2, 1, 128), (1, 1, 1, 24)]
)
def test_it_is_the_plain_function(
    dtype: torch.dtype, tokens: int, queries: int, keys: int, dim: int
) -> None:
    """Of a view into queries, keys and values side by side, as one product gives them."""
    torch.manual_seed(1)
    whole = torch.randn(tokens, queries + 2 * keys, dim, device=DEVICE).to(dtype)
    heads = whole[:, : queries + keys]
    angles = torch.randn(tokens, dim // 2, device=DEVICE)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    norms = [torch.randn(dim, device=DEVICE).to(dtype) for _ in range(2)]
    got = norm_rotate(heads, cos, sin, *norms, 1e-6, queries)
    normed = torch.cat(
        [_normed(heads[:, :queries], norms[0], 1e-6), _normed(heads[:, queries:], norms[1], 1e-6)],
        dim=1,
    )
    tolerance = 1e-5 if dtype == torch.float32 else 4e-3
    torch.testing.assert_close(got, _rotated(normed, cos, sin), atol=tolerance, rtol=tolerance)
    assert got.is_contiguous()
