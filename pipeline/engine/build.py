"""From a model section to a loaded engine, in two halves: CPU rules first, the network second."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pipeline.checkpoints.locating import locate
from pipeline.checkpoints.lora import AdaptedCheckpoint
from pipeline.config import EngineConfig, ImagesConfig, ModelConfig
from pipeline.engine.agreement import AgreementCheck
from pipeline.engine.device import (
    AROUND,
    DEFAULT_TOKEN_BUDGET,
    NUMPY_DEVICE,
    check_precision,
    current,
    dtype_name,
    kind_of_place,
    quantised,
    torch_device,
    torch_dtype,
    use_deterministic_kernels,
)
from pipeline.engine.engine import Engine
from pipeline.engine.families import find, parse_settings
from pipeline.engine.memory import token_budget
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.linears.conversion import products_in
from pipeline.rerankers.base import Reranker, WeightedReranker

if TYPE_CHECKING:
    import torch

    from pipeline.checkpoints.checkpoint import Checkpoint

#: Tokens of a forward pass of what quantised engines are compared with: little beside what the
#: engine itself has been given of a GPU's memory, and what suits a CPU.
_REFERENCE_BUDGET: Final = 2_048


def build_reranker(
    config: ModelConfig,
    *,
    files: Mapping[str, str] | None = None,
    images: ImagesConfig | None = None,
    allow_code: Collection[str] = (),
) -> Reranker:
    """The CPU half of a resolved model section: tokenizer and rules, no network, no torch.

    Args:
        config: the model section.
        files: hex sha256 of every file of the checkpoint by name, from the plan of a run; whatever
            the reranker and its network read must be that. None reads what is there.
        images: where images may be read from; None: bytes only.
        allow_code: modules outside this package that the user allows to be imported.

    Raises:
        ConfigurationError: family, settings or weights are not usable together.
        NotFoundError: no checkpoint there.
        ModelError: a sha256 or digest differs, or the folder is not what the family needs.
    """
    family = find(str(config.family), allow_code=allow_code)
    reranker = _built(family, config, files)
    if images is not None:
        reranker.images = images
    return reranker


def _built(
    family: type[Reranker], config: ModelConfig, files: Mapping[str, str] | None
) -> Reranker:
    settings = parse_settings(family, config.settings)
    if not issubclass(family, WeightedReranker):
        return family(settings=settings)
    if config.weights is None:
        raise ConfigurationError(
            f"model.weights: the family '{config.family}' needs a checkpoint; set it to a folder, "
            "a URI or a hub id"
        )
    checkpoint = locate(config.weights, config.revision, files=files)
    if config.sha256 is not None:
        checkpoint.check_sha256(config.sha256)
    if config.adapter is not None:
        checkpoint = AdaptedCheckpoint.of(checkpoint, config.adapter, config.adapter_revision)
    with _what_it_reads(family, checkpoint):
        reranker = family(checkpoint=checkpoint, settings=settings)
    if config.digest is not None:  # now that it is known which files the family reads
        reranker.checkpoint.check_digest(config.digest)
    return reranker


def build_engine(
    reranker: Reranker,
    config: EngineConfig,
    kind: str,
    *,
    rebuild: Callable[[Mapping[str, str] | None], Reranker],
) -> Engine:
    """Load the network on the device and wrap it in the forward loop.

    Args:
        reranker: from :func:`build_reranker`.
        config: precision, packing, token budget and least agreement.
        kind: ``cpu``, ``cuda`` or ``cuda:N``.
        rebuild: :func:`build_reranker` with the same model section and consent, given the hashes
            of the checkpoint's files. An engine of lower precision calls it when a sequence first
            has to be scored in float32, so that both score with the same weights.

    Raises:
        ConfigurationError: ``cuda`` is asked for and torch sees no GPU, or packing or a precision
            is asked for and the family or the device cannot.
        ModelError: a tensor is missing, unexpected or of the wrong shape.
    """

    def float32_twin() -> Engine:
        # Its batches are single sequences, so no budget is looked for.
        exact = config.model_copy(update={"dtype": "float32", "token_budget": 1})
        return build_engine(rebuild(files), exact, kind, rebuild=rebuild)

    def reference() -> Engine:
        wide = {"dtype": AROUND[dtype], "token_budget": _REFERENCE_BUDGET}
        return build_engine(rebuild(files), config.model_copy(update=wide), kind, rebuild=rebuild)

    if reranker.numpy_only:
        return _without_torch(reranker, config, kind)
    # A family without a network computes on the CPU wherever its replica stands.
    checkpoint = reranker.checkpoint if isinstance(reranker, WeightedReranker) else None
    device = torch_device("cpu" if checkpoint is None else kind)
    if config.deterministic:
        use_deterministic_kernels()
    dtype = dtype_name(config.dtype, kind_of_place(kind))
    if checkpoint is not None:
        check_precision(dtype, device)
    products = quantised(dtype) if checkpoint is not None else None
    # Taken before the network is read: known already in a run, hashed now where nothing is planned.
    lower = dtype != "float32"
    files = checkpoint.files if lower and checkpoint is not None else None
    packed = _packed(reranker, config)
    with (
        _what_it_reads(type(reranker), checkpoint),
        products_in(products) as conversion,
        current(device),
    ):
        reranker.load(device=device, dtype=torch_dtype(dtype), packed=packed)
    if products is not None and not conversion.quantised:
        raise ConfigurationError(
            f"engine.dtype: the family of this model ({type(reranker).__name__}) loads no linear "
            f"layer that can be {products}; take {AROUND[products]}"
        )
    return Engine(
        reranker,
        device=device,
        token_budget=_token_budget(reranker, config, device),
        share_prefixes=config.share_prefixes,
        deterministic=config.deterministic,
        float32_twin=float32_twin if lower else None,
        agreement=None
        if products is None
        else AgreementCheck(
            precision=products,
            reference_precision=AROUND[products],
            reference=reference,
            min_overlap=config.min_overlap,
        ),
    )


def _without_torch(reranker: Reranker, config: EngineConfig, kind: str) -> Engine:
    """The engine of a family that computes in NumPy: nothing is loaded, and torch not imported."""
    dtype_name(config.dtype, kind_of_place(kind))  # refuses what the replicas' device cannot
    reranker.packed = _packed(reranker, config)
    return Engine(
        reranker,
        device=NUMPY_DEVICE,
        token_budget=config.token_budget or DEFAULT_TOKEN_BUDGET["cpu"],
        share_prefixes=config.share_prefixes,
        deterministic=config.deterministic,
    )


def _packed(reranker: Reranker, config: EngineConfig) -> bool:
    """Whether batches go to the network without padding."""
    if config.packing == "packed" and not reranker.can_pack:
        raise ConfigurationError(
            f"engine.packing: the family of this model ({type(reranker).__name__}) cannot take "
            "sequences of different lengths without padding; use auto or padded"
        )
    return config.packing != "padded" and reranker.can_pack


@contextmanager
def _what_it_reads(family: type[Reranker], checkpoint: Checkpoint | None) -> Iterator[None]:
    """Make a sentence of what a family of ours raises for a value that it did not look at.

    A family of the user's own is the user's code: what it raises comes with its traceback.

    Raises:
        ModelError: a lookup, a conversion or an operation failed on what the checkpoint's files
            hold.
    """
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        if checkpoint is None or not family.__module__.startswith("pipeline.rerankers."):
            raise
        raise ModelError(
            f"{checkpoint.folder}: its files hold something else than the family "
            f"'{family.__module__.rpartition('.')[2]}' expects ({type(error).__name__}: {error}); "
            "check that config.json and the tokenizer's files are whole and belong to this family"
        ) from error


def _token_budget(reranker: Reranker, config: EngineConfig, device: torch.device) -> int:
    if config.token_budget is not None:
        return config.token_budget
    if config.deterministic or not isinstance(reranker, WeightedReranker):
        return DEFAULT_TOKEN_BUDGET[device.type]
    with current(device):
        return token_budget(reranker, device, memory_fraction=config.memory_fraction)
