"""Checkpoint folders with random weights, in the layout that upstream publishes, kept in a cache.

They go through the same loaders as real ones. Weights are normal with the variance that keeps
activations near 1, so that attention and scores spread as in a trained network; seeds follow from
tensor names, so that two layouts of one network hold the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.bench.models.shapes import Scale, Shape, shape_named
from pipeline.bench.models.tensors import Named
from pipeline.bench.models.vocabularies import write_tokenizer

if TYPE_CHECKING:
    import torch

#: Changes with anything below that changes what is written.
_VERSION: Final = 1

_BIAS_STD: Final = 0.02

#: jina-reranker-v2's names of XLM-R's parts.
_UPSTREAM: Final = (
    ("roberta.embeddings.LayerNorm.", "roberta.emb_ln."),
    ("roberta.encoder.layer.", "roberta.encoder.layers."),
    (".attention.output.dense.", ".mixer.out_proj."),
    (".attention.output.LayerNorm.", ".norm1."),
    (".output.LayerNorm.", ".norm2."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
)
_QUERY: Final = ".attention.self.query."


def checkpoint_folder(shape: Shape, scale: Scale, cache: Path) -> Path:
    """The folder of a shape's checkpoint, written first where the cache does not hold it."""
    config = shape.config_of(scale)
    about = json.dumps([_VERSION, shape.name, config, shape.dtype], sort_keys=True)
    key = hashlib.sha256(about.encode()).hexdigest()[:12]
    target = cache / f"{shape.name}-{scale}-{key}"
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        partial.mkdir(parents=True)
        try:
            _write(shape, config, partial)
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if not target.exists():  # another process may have been first
                raise
    return target


def twin_folder(shape: Shape, scale: Scale, cache: Path) -> Path | None:
    """The same network with the same weights as transformers loads it; None where it has none."""
    if shape.twin is None:
        return None
    return checkpoint_folder(shape_named(shape.twin), scale, cache)


def _write(shape: Shape, config: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    stated = config | {"torch_dtype": shape.dtype}
    if shape.family == "cross_encoder":
        # sentence-transformers would apply a sigmoid where nothing is said.
        stated["sbert_ce_default_activation_function"] = "torch.nn.modules.linear.Identity"
    (folder / "config.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    longest = int(config["max_position_embeddings"])
    reserved = 2 if config.get("pad_token_id") == 1 else 0
    origin = write_tokenizer(shape.vocabulary, folder, max_length=longest - reserved)
    (folder / "README.md").write_text(
        f"Random weights in the shape of {shape.name}, for benchmarks. Tokenizer: {origin}.\n",
        encoding="utf-8",
    )
    save_file(_stored(shape, config), folder / "model.safetensors")


def _stored(shape: Shape, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors by the name that the file has for them.

    Drawn on all CPUs at once, since one thread takes half a minute for two billion numbers; each
    tensor has a seed of its own, so the numbers are the same however many threads there are.
    """
    import torch

    dtype = getattr(torch, shape.dtype)
    planned = dict(_planned(shape, config))

    def drawn(parts: Sequence[Named]) -> torch.Tensor:
        tensors = [_random(*part).to(dtype) for part in parts]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(planned, pool.map(drawn, planned.values()), strict=True))


def _planned(shape: Shape, config: dict[str, Any]) -> Iterator[tuple[str, list[Named]]]:
    """The file's name of each tensor, and what it is drawn from: itself, or three in a row."""
    for name, sizes in shape.tensors(config):
        if not shape.upstream_layout:
            yield name, [(name, sizes)]
        elif _QUERY in name:
            parts = [name.replace(_QUERY, f".attention.self.{part}.") for part in _FUSED]
            fused = _upstream(name.replace(_QUERY, ".mixer.Wqkv."))
            yield fused, [(part, sizes) for part in parts]
        elif ".attention.self." not in name:
            yield _upstream(name), [(name, sizes)]


_FUSED: Final = ("query", "key", "value")


def _upstream(name: str) -> str:
    for ours, theirs in _UPSTREAM:
        name = name.replace(ours, theirs)
    return name


def _random(name: str, sizes: Sequence[int]) -> torch.Tensor:
    """float32: 1 for the weights of norms, small for biases, normal by fan-in for matrices."""
    import torch

    if len(sizes) == 1 and name.endswith("weight"):
        return torch.ones(*sizes)
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big")
    chance = torch.Generator().manual_seed(seed)
    std = _BIAS_STD if len(sizes) == 1 else 1 / math.sqrt(math.prod(sizes[1:]))
    return torch.empty(*sizes).normal_(0.0, std, generator=chance)
