"""jina-reranker-m0's ``compute_score`` as it batches: eight pairs as they come, padded on the left.

Each pair has its own image: decoded, resized and cut into float32 patches in the thread that
launches the kernels, and sent through the vision tower again for every query that asks about it.
Prompts are strings with one placeholder per visual token. All hidden states are kept, one row is
read. The score head runs in float32, as in this package, so that scores differ by batching alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.harness.contender import Contender
from pipeline import schema
from pipeline.bench.engines import Scored
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config import ImagesConfig
from pipeline.images.decoder import decoder
from pipeline.images.decoding import ImageSize
from pipeline.networks.loading import build, load_weights

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

_BATCH: Final = 8
_SCORE_TOKEN, _PAD = 100, 151643
_BIAS: Final = 2.65

#: Means and deviations that Qwen2-VL's processor normalises by.
_MEAN: Final = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_DEVIATION: Final = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


class BatchesOfEight(Contender):
    """Eight pairs per forward pass, in the order in which they come."""

    name = "jina-m0-policy"
    about = "upstream's compute_score(): arrival order, batches of 8, an image per pair"

    def __init__(self, subject: Subject) -> None:
        from tokenizers import Tokenizer
        from torch import nn
        from transformers import Qwen2VLModel

        from pipeline.networks.network_config import network_config

        checkpoint = Checkpoint(subject.folder)
        self.tokenizer = Tokenizer.from_file(str(checkpoint.file("tokenizer.json")))
        self.tokenizer.enable_padding(direction="left", pad_id=_PAD, pad_token="<|endoftext|>")
        self.device, self.dtype = subject.device, subject.torch_dtype
        width = int(checkpoint.config["hidden_size"])
        self.image_token = int(checkpoint.config["image_token_id"])
        where = checkpoint.folder / "config.json"
        config = network_config(checkpoint.config, kind="qwen2_vl", where=where)
        self.network: Any = build(
            lambda: nn.ModuleDict(
                {
                    "model": Qwen2VLModel(config),
                    "score": nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)),
                }
            ),
            dtype=subject.torch_dtype,
        )

        def rename(name: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
            if name.startswith("visual."):
                return [(f"model.{name}", tensor)]
            return [(name.replace("model.", "model.language_model.", 1), tensor)]

        load_weights(
            self.network,
            checkpoint,
            rename=rename,
            ignore=("lm_head.weight",),
            heads=("score",),
            device=subject.device,
        )

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Batches run over the borders of lists, as in one call with all pairs."""
        import torch

        pairs = [
            (queries[query], image)
            for lists in units
            for queries in [lists.queries.column(schema.QUERY).to_pylist()]
            for query, image in zip(
                lists.query_of_document.tolist(),
                lists.documents.column(schema.IMAGE).to_pylist(),
                strict=True,
            )
        ]
        scores, computed = [], 0
        with torch.inference_mode():
            for start in range(0, len(pairs), _BATCH):
                found, tokens = self._batch(pairs[start : start + _BATCH])
                scores.append(found)
                computed += tokens
        return Scored(scores=np.concatenate(scores), computed=computed)

    def _batch(self, pairs: list[tuple[str, bytes]]) -> tuple[npt.NDArray[np.float32], int]:
        import torch

        images = [decoder().pixels(data, ImagesConfig(), ImageSize()) for _, data in pairs]
        grids = [(1, image.shape[0] // 14, image.shape[1] // 14) for image in images]
        encoded = self.tokenizer.encode_batch(
            [
                "**Document**:\n<|vision_start|>"
                + "<|image_pad|>" * (rows * columns // 4)
                + f"<|vision_end|>\n**Query**:\n{query}"
                for (query, _), (_, rows, columns) in zip(pairs, grids, strict=True)
            ]
        )
        ends = np.full((len(pairs), 1), _SCORE_TOKEN)
        ids = np.concatenate([np.array([row.ids for row in encoded]), ends], axis=1)
        mask = np.concatenate([[row.attention_mask for row in encoded], ends > 0], axis=1)
        positions = [
            places(row, seen, grid, self.image_token)
            for row, seen, grid in zip(ids, mask, grids, strict=True)
        ]
        model = self.network["model"]
        put = torch.from_numpy(ids).to(self.device)
        states = model.language_model.embed_tokens(put)
        patches = torch.from_numpy(np.concatenate([patchified(image) for image in images]))
        shown = model.visual(
            patches.to(self.device).to(self.dtype),
            grid_thw=torch.tensor(grids, device=self.device),
        ).pooler_output
        states[put == self.image_token] = shown.to(states.dtype)
        hidden = model.language_model(
            inputs_embeds=states,
            attention_mask=torch.from_numpy(mask.astype(np.int64)).to(self.device),
            position_ids=torch.from_numpy(np.stack(positions, axis=1)).to(self.device),
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states[-1]
        logits = self.network["score"](hidden[:, -1]).float().view(-1)
        return torch.sigmoid(logits - _BIAS).cpu().numpy(), ids.size


def places(
    ids: npt.NDArray[np.int64],
    mask: npt.NDArray[np.int64],
    grid: tuple[int, int, int],
    image_token: int,
) -> npt.NDArray[np.int64]:
    """int64 [3, T]: temporal, row and column position of each token; 0 at padding.

    The image's tokens stand in rows and columns from where it begins, and the text goes on behind
    the longer of its sides.
    """
    rows, columns = grid[1] // 2, grid[2] // 2
    positions = np.tile(np.cumsum(mask.astype(np.int64)) - 1, (3, 1))
    shown = np.flatnonzero(ids == image_token)
    first = positions[0, shown[0]]
    positions[:, shown[-1] + 1 :] += max(rows, columns) - len(shown)
    positions[0, shown] = first
    positions[1, shown] = first + np.repeat(np.arange(rows), columns)
    positions[2, shown] = first + np.tile(np.arange(columns), rows)
    return np.maximum(positions, 0) * mask.astype(np.int64)


def patchified(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """float32 [P, 1176]: normalised patches in the order of the blocks that are merged.

    The one frame stands in both of a patch's two time steps.
    """
    scaled = (image.astype(np.float64) * 0.00392156862745098).astype(np.float32)
    normal = ((scaled - _MEAN) / _DEVIATION).transpose(2, 0, 1)
    rows, columns = image.shape[0] // 28, image.shape[1] // 28
    blocks = normal.reshape(3, rows, 2, 14, columns, 2, 14).transpose(1, 4, 2, 5, 0, 3, 6)
    twice = np.repeat(blocks[:, :, :, :, :, None], 2, axis=5)
    return np.ascontiguousarray(twice).reshape(-1, 3 * 2 * 14 * 14)
