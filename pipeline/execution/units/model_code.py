"""Runs a model's own code, so that what it raises is attributed to the unit that it works on."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.errors import RerankError

#: How torch says that a kernel failed: the process's CUDA context is lost with it, so every later
#: unit would fail as well.
_LOST_DEVICE: Final = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED")


class ModelCodeError(Exception):
    """The model raised; the message is the end of its traceback."""


@contextmanager
def model_code() -> Iterator[None]:
    """Run a family's or the engine's code on one unit.

    Raises:
        ModelCodeError: it raised anything that is not an error of ours.
    """
    try:
        yield
    except RerankError:
        raise
    except Exception as error:
        lines = traceback.format_exception(error)
        if any(phrase in str(error) for phrase in _LOST_DEVICE):
            sys.stderr.write("".join(lines))
            sys.stderr.flush()
            os._exit(1)  # as any other crash of a worker: it is replaced, and the unit counted
        raise ModelCodeError("".join(lines[-3:]).strip()) from error
