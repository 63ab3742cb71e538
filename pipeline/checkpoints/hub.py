"""Model hubs: a repository's name becomes a commit once, and a commit becomes a folder.

``HF_ENDPOINT`` names a mirror, and ``HF_HUB_OFFLINE`` keeps to what was fetched before, also on
another machine: the cache knows which commit a branch was at.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Final

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.home import home_path, is_folder

logger = logging.getLogger("pipeline")

#: What a checkpoint may hold that a family reads.
_FILES: Final = (
    "*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "1_Pooling/*", "artifact.metadata",
)  # fmt: skip

#: A commit by its full name; shorter ones and branches may come to mean another one.
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")

_BRANCH: Final = "main"


def is_hub_id(weights: str) -> bool:
    """Whether a place of weights is ``owner/name`` on a hub: no folder, URI or package."""
    return (
        weights.count("/") == 1
        and "://" not in weights
        and not weights.startswith((".", "/", "~", "package:"))
        and not is_folder(weights)
    )


def refuse_revision(revision: str | None, place: str, *, setting: str) -> None:
    """Refuse a revision of what is no hub id: what lies in a folder is what is read.

    Args:
        revision: commit, branch or tag that was asked for; None: none was.
        place: what it was asked of.
        setting: names the revision.

    Raises:
        ConfigurationError: one was, of a folder, a URI or a package.
    """
    if revision is not None and not is_hub_id(place):
        raise ConfigurationError(
            f"{setting}: '{revision}' is of a hub id, and '{place}' is none: what lies there is "
            "what is read; leave it out"
        )


def is_commit(revision: str | None) -> bool:
    """Whether a revision is the full name of a commit, which never means another one."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def commit_of(repo: str, revision: str | None, *, file: str = "config.json") -> str:
    """The commit that a branch or a tag stands for now.

    Args:
        repo: ``owner/name``.
        revision: the branch or tag; None: the default branch.
        file: one that it must hold, which is fetched.

    Raises:
        NotFoundError: the hub does not have it, or does not answer and it was not fetched before.
    """
    wanted = revision or _BRANCH
    _require_home()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        # The cache remembers what the branch was at, and answers where the hub does not.
        commit = Path(hf_hub_download(repo, file, revision=wanted)).parent.name
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _unknown(repo, wanted, f"{type(error).__name__}: {error}") from None
    if commit != wanted:
        logger.info("%s at '%s' is commit %s", repo, wanted, commit)
    return commit


def fetched(repo: str, commit: str) -> Path:
    """The folder of a commit, fetched where it is not there.

    Raises:
        NotFoundError: it cannot be fetched.
    """
    _require_home()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=commit, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _unknown(repo, commit, f"{type(error).__name__}: {error}") from None


def kept(repo: str, commit: str) -> Path | None:
    """The folder of a commit in the hub's cache of this machine; None: it was not fetched whole.

    Raises:
        NotFoundError: there is no home folder that the cache could be in.
    """
    _require_home()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            repo, revision=commit, allow_patterns=list(_FILES), local_files_only=True
        )
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    folder = Path(found)
    return folder if next(folder.glob("*.safetensors"), None) is not None else None


def refusal(repo: str) -> str | None:
    """Why the hub would not give a repository to this user now; None: it would.

    Asked within seconds, and nothing is fetched. ``HF_HUB_OFFLINE`` is a reason as well.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled

    page = f"{constants.ENDPOINT}/{repo}"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        HfApi().auth_check(repo)
    except GatedRepoError:
        return (
            f"its publisher asks for consent; accept the licence at {page}, and set HF_TOKEN to a "
            "token of the account that did"
        )
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except (HfHubHTTPError, OSError, ValueError) as error:
        return f"{constants.ENDPOINT} does not give it: {_in_a_line(error)}"
    except Exception as error:  # the client of the hub raises those of its own library (httpx)
        return f"{constants.ENDPOINT} does not answer: {_in_a_line(error)}"
    return None


def _in_a_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _require_home() -> None:
    if not (os.environ.get("HF_HUB_CACHE") or os.environ.get("HF_HOME")):
        home_path(".cache", "huggingface", instead="HF_HOME to a folder for the hub's files")


def _unknown(repo: str, revision: str, why: str) -> NotFoundError:
    return NotFoundError(
        f"model.weights: '{repo}' at revision {revision} cannot be fetched ({why}); without a "
        "network, put the files in a folder and set model.weights to it"
    )
