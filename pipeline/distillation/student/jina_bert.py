"""A JinaBERT-shaped cross-encoder as sentence-transformers trains it, and as ``jina_v1`` runs it.

The network, its tensor names and the way a pair becomes tokens are those of the ``jina_v1`` family,
so a trained student is a checkpoint that ``rerank run`` loads. Layers of a larger checkpoint can be
kept, as distilled students are usually begun (Sanh et al., DistilBERT, arXiv:1910.01108).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sentence_transformers.base.modules import InputModule

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.locating import locate
from pipeline.config.student import StudentConfig
from pipeline.engine.families import parse_settings
from pipeline.errors import ConfigurationError
from pipeline.networks.encoders.jina_bert import JinaBertReranker, Shape
from pipeline.rerankers.jina_v1 import JinaV1, JinaV1Settings
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

_LAYER = "bert.encoder.layer."
_DEVIATION = 0.02


class JinaBertStudent(InputModule):
    """Pairs of texts to ``scores`` [b, 1], the logits."""

    def __init__(self, checkpoint: Checkpoint, config: StudentConfig) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        settings = parse_settings(JinaV1, {"max_length": 512} | config.settings)
        assert isinstance(settings, JinaV1Settings)
        self.family = JinaV1(checkpoint=checkpoint, settings=settings)
        kept = config.layers or tuple(range(checkpoint.config["num_hidden_layers"]))
        self.config = checkpoint.config | {"num_hidden_layers": len(kept)}
        shape = Shape.from_config(self.config)
        pad_id = int(self.config.get("pad_token_id") or 0)
        self.network = JinaBertReranker(shape, pad_id=pad_id, packed=False)
        if config.random_weights:
            self.network.apply(_randomly)
        else:
            self.network.load_state_dict(dict(_kept(checkpoint, kept)))

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Pairs of (query, document) as the family's sequences."""
        return {"sequences": self.family.encode(_lists(inputs))}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``scores`` to the features."""
        sequences: Sequences = features["sequences"]
        features["scores"] = self.network(_batch(sequences, self.network.classifier.weight.device))
        return features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write a checkpoint folder of the ``jina_v1`` family."""
        from safetensors.torch import save_file

        folder = Path(output_path)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        written = json.dumps(self.config | {"torch_dtype": "float32"}, indent=2)
        (folder / "config.json").write_text(written, encoding="utf-8")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(self.family.checkpoint.file(name), folder / name)


def jina_bert(config: StudentConfig) -> Any:
    """The student as a sentence-transformers cross-encoder on the CPU; seed torch before.

    Raises:
        ConfigurationError: ``student.layers`` names a layer that the checkpoint has not.
        ModelError: the checkpoint is none of the family.
    """
    from sentence_transformers import CrossEncoder

    checkpoint = locate(str(config.weights), config.revision)
    there = checkpoint.config.get("num_hidden_layers", 0)
    if any(not 0 <= layer < there for layer in config.layers or ()):
        raise ConfigurationError(
            f"student.layers: {list(config.layers or ())}; {checkpoint.folder} has layers 0 to "
            f"{there - 1}"
        )
    module = JinaBertStudent(checkpoint, config)
    return CrossEncoder(modules=[module], device="cpu", activation_fn=torch.nn.Identity())


def _kept(checkpoint: Checkpoint, layers: Sequence[int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors in float32, with the kept layers counted anew."""
    place = {layer: new for new, layer in enumerate(layers)}
    for name, tensor in checkpoint.tensors():
        if name.startswith(_LAYER):
            number, rest = name[len(_LAYER) :].split(".", 1)
            if int(number) not in place:
                continue
            name = f"{_LAYER}{place[int(number)]}.{rest}"
        yield name, tensor.float()


def _randomly(module: torch.nn.Module) -> None:
    """BERT's initial weights."""
    if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
        torch.nn.init.normal_(module.weight, std=_DEVIATION)
    if isinstance(module, torch.nn.Linear) and module.bias is not None:
        torch.nn.init.zeros_(module.bias)


def _lists(pairs: Sequence[Any]) -> CandidateLists:
    """Every pair as a candidate list of its own."""
    one = CandidateLists.from_texts("", [document for _, document in pairs])
    queries = {
        schema.QUERY_ID: pa.array([str(place) for place in range(len(pairs))], pa.string()),
        schema.QUERY: pa.array([query for query, _ in pairs], pa.string()),
    }
    return CandidateLists(
        queries=pa.table(queries),
        offsets=np.arange(len(pairs) + 1, dtype=np.int64),
        documents=one.documents,
    )


def _batch(sequences: Sequences, device: torch.device) -> Batch:
    """All sequences at once, one readout each."""
    count = len(sequences)
    return Batch(
        token_ids=sequences.token_ids,
        offsets=sequences.offsets,
        segment_ids=sequences.segment_ids,
        readout_positions=sequences.readout_positions,
        readout_sequences=np.arange(count, dtype=np.int64),
        chosen=np.arange(count, dtype=np.int64),
        sequences=sequences,
        device=device,
    )
