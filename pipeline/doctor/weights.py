"""The model of a job: what its name stands for, whether its weights are here, and their licence."""

from __future__ import annotations

import re
from typing import Final

from pipeline.checkpoints import cards, hub
from pipeline.checkpoints.adapters import with_base
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.licences import UNKNOWN, stated_licence
from pipeline.checkpoints.locating import found
from pipeline.config import ModelConfig
from pipeline.doctor.finding import Finding, note, ok, problem
from pipeline.storage.home import expanded
from pipeline.storage.store import exists, join

#: Words of licences that allow no use for money, or ask to be asked.
_RESTRICTED: Final = re.compile(r"\bnc\b|non-?commercial|research|proprietary|other", re.I)


def weights(model: ModelConfig) -> list[Finding]:
    """Where the weights of a model are, and what is known of them. Nothing large is fetched.

    Args:
        model: the section of a job.

    Raises:
        RerankError: the name stands for nothing, or there is nothing where it points to.
    """
    card = cards.card_of(model.name)
    resolved = cards.resolve(model)
    if resolved.adapter is None and resolved.weights is not None and _is_folder(resolved.weights):
        resolved = with_base(resolved)  # a folder may hold an adapter alone
    if resolved.weights is None:
        return [ok("weights", f"{resolved.name or resolved.family}: has none to be fetched")]
    place = resolved.weights
    if hub.is_hub_id(place):
        here = _at_hub(place, resolved.revision)
    elif "://" in place and not place.startswith(("file://", "local://")):
        here = _at_store(place)
    else:
        here = _at_folder(Checkpoint(found(place).folder), place, resolved)
    return [*here, *_licence(card, place)]


def _at_folder(checkpoint: Checkpoint, place: str, model: ModelConfig) -> list[Finding]:
    folder = checkpoint.folder
    if not (folder / "config.json").is_file():
        return [
            problem(
                "weights",
                f"{place}: no config.json, so this is no checkpoint",
                "set model.weights to the folder that holds config.json and *.safetensors",
            )
        ]
    digest = checkpoint.digest
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2**20
    said = f"{place}: {size:,.0f} MiB, digest {digest[:16]}"
    if model.digest is not None and model.digest != digest:
        return [
            problem(
                "weights",
                f"{said}, expected {model.digest[:16]}",
                "fetch them again, or take model.digest out if other weights are meant",
            )
        ]
    known = ", as its card says" if model.digest is not None else ""
    return [ok("weights", f"{said}{known}")]


def _at_store(place: str) -> list[Finding]:
    if not exists(join(place, "config.json")):
        return [
            problem(
                "weights",
                f"{place}: no config.json there",
                "copy the checkpoint there, or correct model.weights",
            )
        ]
    return [ok("weights", f"{place}: is there; each machine keeps a verified copy of its own")]


def _at_hub(repo: str, revision: str | None) -> list[Finding]:
    named = f"{repo} at {revision[:12] if revision else 'its branch'}"
    folder = hub.kept(repo, revision) if revision is not None else None
    if folder is not None:
        digest = Checkpoint(folder).digest
        return [ok("weights", f"{named}: in this machine's cache, digest {digest[:16]}")]
    refusal = hub.refusal(repo)
    fetch = f"hf download {repo}" + (f" --revision {revision}" if revision else "")
    if refusal is None:
        return [
            note(
                "weights",
                f"{named}: not fetched yet; the hub gives it to this user",
                f"fetch it before the run, once for all machines: {fetch}, and copy the folder to "
                "your store (model.weights)",
            )
        ]
    return [
        problem(
            "weights",
            f"{named}: not in this machine's cache, and {refusal}",
            f"where there is a network: {fetch}; then set model.weights to that folder, or to a "
            "copy in your store",
        )
    ]


def _licence(card: cards.Card | None, place: str) -> list[Finding]:
    """The licence of the card, or what the files of a local folder state."""
    if card is not None:
        licence, source = card.licence, card.licence_source or "the publisher's page"
    elif _is_folder(place):
        licence, stated = stated_licence(expanded(place))
        source = stated or "its publisher"
    else:
        licence, source = UNKNOWN, "its publisher"
    if licence == UNKNOWN:
        return [note("licence", "not stated beside the weights", "ask its publisher before use")]
    if _RESTRICTED.search(licence):
        return [note("licence", licence, f"read what it allows ({source}) before a commercial use")]
    return [ok("licence", licence)]


def _is_folder(place: str) -> bool:
    return "://" not in place and expanded(place, setting="model.weights").is_dir()
