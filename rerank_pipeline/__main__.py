"""The ``rerank`` command: ``python -m rerank_pipeline run -c job.yaml``, from any folder."""

from __future__ import annotations

from typing import NoReturn

from rerank_pipeline.names import keep_names


def main() -> NoReturn:
    """Entry point of the console script."""
    keep_names()
    from pipeline.cli import main as command

    command()


if __name__ == "__main__":
    main()
