"""Our Triton kernels become code for an NVIDIA GPU; the compiler needs no card."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: Shared memory of a block of threads on a Hopper card, in bytes.
MOST_SHARED = 227 * 1024

#: Compiles in a process of its own, since in ours Triton may have been imported to interpret.
SCRIPT = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from pipeline.networks import triton_rotation as rotation
from pipeline.networks.attention import triton_kernel as attention

def shared(kernel, types, constants, **options):
    names = kernel.arg_names
    signature = {name: types.get(name, "constexpr") for name in names}
    constexprs = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constexprs)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert made.asm["cubin"]
    return made.metadata.shared

def of_attention(dim, longest, alibi):
    width = max(16, triton.next_power_of_2(dim))
    blocks = attention.blocks_of(longest, longest, width)
    types = dict.fromkeys(["query", "key", "value", "out"], "*bf16")
    types |= {"query_offsets": "*i32", "key_offsets": "*i32", "scale": "fp32", "blocks": "i32"}
    types["slopes"] = "*fp32" if alibi else "*bf16"
    types |= {f"{of}_{what}": "i32" for of in ("query", "key", "value", "out")
              for what in ("stride", "head")}
    constants = dict(group=1, dim=dim, width=width, rows=blocks.rows, columns=blocks.columns,
                     alibi=alibi)
    return shared(attention._attention, types, constants, num_warps=4, num_stages=3)

def of_rotation(dim):
    types = dict.fromkeys(["heads", "out", "cos", "sin", "query_norm", "key_norm"], "*bf16")
    types |= {"eps": "fp32", "count": "i32", "token_stride": "i32", "head_stride": "i32"}
    constants = dict(queries=16, per_token=24, half=dim // 2,
                     width=triton.next_power_of_2(dim // 2), block=rotation._HEADS)
    return shared(rotation._norm_rotate, types, constants, num_warps=4)

found = [of_attention(32, 85, False), of_attention(128, 600, False), of_attention(64, 600, True),
         of_rotation(128)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_kernels_compile_for_a_hopper_card() -> None:
    """Attention of MiniLM, of the widest encoders, with ALiBi; and the heads of Qwen3."""
    pytest.importorskip("triton.backends.nvidia")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    assert all(0 <= shared <= MOST_SHARED for shared in json.loads(done.stdout))
