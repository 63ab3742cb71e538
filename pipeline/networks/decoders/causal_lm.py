"""Any causal language model that transformers knows, from a checkpoint folder, strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.errors import ModelError
from pipeline.networks.loading import build, load_weights

if TYPE_CHECKING:
    import torch

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.batch import Batch

#: Old checkpoints store buffers that later code computes.
_IGNORED: Final = ("*.rotary_emb.inv_freq",)

#: Generation looks at whether all answers have ended once in so many tokens; looking is a sync.
_LOOK_EVERY: Final = 8


def load_causal_lm(
    checkpoint: Checkpoint,
    *,
    device: torch.device,
    dtype: torch.dtype,
    rows: list[int] | None = None,
) -> Any:
    """transformers' own class for the checkpoint's ``model_type``, with every tensor accounted for.

    Args:
        checkpoint: where the tensors come from.
        device: target.
        dtype: of the body.
        rows: keep only these rows of the output layer, see :func:`keep_rows`.

    Raises:
        ModelError: transformers has no causal language model of that type, or a tensor does not
            fit. Mixtures of experts whose layout transformers converts while loading do not fit.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

    from pipeline.networks.linears.conversion import convert_linears
    from pipeline.networks.network_config import network_config

    kind = str(checkpoint.config.get("model_type"))
    where = checkpoint.folder / "config.json"
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(
            f"{where}: model_type '{kind}' is no causal language model that the installed "
            "transformers has"
        )
    config = network_config(checkpoint.config, kind=kind, where=where)
    network = build(
        lambda: AutoModelForCausalLM.from_config(config, dtype=dtype),
        dtype=dtype,
        checkpoint=checkpoint,
    )
    tied = bool(getattr(config, "tie_word_embeddings", False))
    network.tie_weights()
    load_weights(
        network,
        checkpoint,
        ignore=_IGNORED,
        optional=tuple(network._tied_weights_keys or ()) if tied else (),
        converted=False,
        device=device,
    )
    if rows is not None:
        keep_rows(network, rows)
    convert_linears(network, device)
    return network


def keep_rows(network: Any, rows: list[int]) -> None:
    """Replace the output layer by some of its rows, in float32.

    What a model does to its logits afterwards (scaling, soft caps) still happens, element by
    element; logits become [batch, length, len(rows)].
    """
    import torch

    whole = network.get_output_embeddings()
    few = torch.nn.Linear(whole.in_features, len(rows), bias=whole.bias is not None)
    few = few.to(device=whole.weight.device, dtype=torch.float32).requires_grad_(False)
    few.weight.copy_(whole.weight[rows])
    if whole.bias is not None:
        few.bias.copy_(whole.bias[rows])
    few.register_forward_pre_hook(lambda _, args: (args[0].float(), *args[1:]))
    network.set_output_embeddings(few)


def read_rows(network: Any, batch: Batch) -> torch.Tensor:
    """float32 [r, rows]: the logits that :func:`keep_rows` left, at every readout of a batch."""
    from pipeline.networks.padding import pad

    padded = pad(batch, 0)
    # Padding is on the right of a causal network: no token attends to it.
    logits: torch.Tensor = network(input_ids=padded.input_ids, use_cache=False).logits
    return logits[padded.readout_rows, padded.readout_columns].float()


def generate(network: Any, batch: Batch, *, stop: tuple[int, ...], tokens: int) -> torch.Tensor:
    """The likeliest next token, again and again.

    Args:
        network: a causal language model.
        batch: prompts.
        stop: ids that end an answer.
        tokens: length at which an answer is cut.

    Returns:
        float32 [b, tokens]: generated ids, exact below 2^24, without the one that ended the answer
        and -1 from there on; NaN throughout where a logit was NaN.
    """
    import torch

    ids, mask = _padded_left(batch)
    ends = torch.tensor(stop, device=batch.device)
    answers = torch.full((len(ids), tokens), -1.0, device=batch.device)
    done = torch.zeros(len(ids), dtype=torch.bool, device=batch.device)
    broken = torch.zeros_like(done)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = None
    for step in range(tokens):
        out = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        best, token = out.logits[:, -1].float().max(-1)
        broken |= torch.isnan(best) & ~done
        done |= torch.isin(token, ends) | broken
        answers[:, step] = torch.where(done, answers[:, step], token.float())
        if step % _LOOK_EVERY == _LOOK_EVERY - 1 and bool(done.all()):
            break
        cache, ids = out.past_key_values, token[:, None]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        positions = positions[:, -1:] + 1
    answers[broken] = torch.nan
    return answers


def _padded_left(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64 [b, longest], so that every prompt ends where generation begins."""
    import torch

    lengths = batch.lengths
    width = int(lengths.max())
    inside = np.arange(width) >= width - lengths[:, None]
    ids = np.zeros(inside.shape, dtype=np.int64)
    ids[inside] = batch.token_ids
    put = (torch.from_numpy(array).to(batch.device) for array in (ids, inside.astype(np.int64)))
    padded, mask = put
    return padded, mask
