"""The calibration of a run: read when it is planned, and of the very model that it scores with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config import JobConfig
from pipeline.config.reading.loading import load_config
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.identity import ModelIdentity
from pipeline.ranking.calibration import Calibration
from pipeline.storage.store import read_bytes

#: What of a model changes its scores by more than rounding; its precision does not.
_KEPT: Final = ("family", "digest", "template", "settings", "images")


@dataclass(frozen=True, kw_only=True)
class FoundCalibration:
    """A calibration as a run uses it.

    Attributes:
        calibration: the fit.
        digest: hex sha256 of the file's content, by which a run knows it.
    """

    calibration: Calibration
    digest: str


def model_digest(model: Mapping[str, Any]) -> str:
    """32 hex digits for whose scores these are.

    Args:
        model: of ``run.json``, or a :class:`~pipeline.execution.runs.identity.ModelIdentity` as
            plain data.
    """
    kept = {name: model.get(name) for name in _KEPT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:32]


def found_calibration(config: JobConfig, model: ModelIdentity) -> FoundCalibration | None:
    """The calibration that a job names; None where it names none.

    Raises:
        NotFoundError: there is no such file.
        ConfigurationError: it is no calibration, or one of another model.
    """
    path = config.output.calibration
    if path is None:
        return None
    data = read_bytes(path)
    calibration = load_config(Calibration, data.decode("utf-8", "replace"), source=path)
    if calibration.model != model_digest(vars(model)):
        raise ConfigurationError(
            f"output.calibration: {path} was fitted to the scores of another model, or of this one "
            "with other settings; fit one to a run of this job with `rerank calibrate`"
        )
    return FoundCalibration(calibration=calibration, digest=hashlib.sha256(data).hexdigest())
