"""A family whose errors and log lines repeat secrets, as those of libraries and stores may."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.batch import Batch

if TYPE_CHECKING:
    import torch


class Telling(Lexical):
    """Raises on a query with the word ``tell``, once it has told its secrets."""

    def forward(self, batch: Batch) -> torch.Tensor:
        told = " ".join(
            [
                os.environ["AWS_SECRET_ACCESS_KEY"],
                os.environ["FEED_URL"],
                os.environ["FEED_URL"].split(":")[2].split("@")[0],
                "s3://AKID:hunter22Marker@bucket/key?X-Amz-Signature=hunter22Marker",
                "Authorization: Bearer hunter22Marker",
            ]
        )
        logging.getLogger("pipeline").warning("a warning with %s", told)
        logging.getLogger("some.library").error("a library's with %s", told)
        raise ConnectionError(f"no answer from {told}")
