"""Part of what ``python -m tests.candidates.mutated_files`` does."""

from __future__ import annotations

from collections import Counter

from tests.candidates.mutated_files import WRITERS, outcomes


def test_damage_ends_in_a_sentence_and_with_checksums_never_in_other_candidates() -> None:
    counts = Counter((writer, found) for writer, _, found in outcomes(0, 150))
    assert {found for _, found in counts} <= {"refused", "same", "different"}
    for writer in WRITERS:
        assert counts[writer, "refused"] >= 15
        assert not writer.endswith("crc") or not counts[writer, "different"], writer
