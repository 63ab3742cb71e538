"""Imported for what it does, where a process can only be told which modules to import."""

from __future__ import annotations

import sys

from rerank_pipeline.names import keep_names

keep_names()
# `python -c`, which such processes are started with, looks into the working folder first; the
# command that started them does not.
if sys.path[:1] == [""]:
    del sys.path[0]
