"""Runs a module of ours as a process: ``python -m rerank_pipeline.module pipeline.NAME``."""

from __future__ import annotations

import runpy
import sys

from rerank_pipeline.names import keep_names

if __name__ == "__main__":
    keep_names()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
