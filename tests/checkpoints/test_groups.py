from __future__ import annotations

import pytest

from pipeline.checkpoints.groups import GROUP_OF, GROUPS, group_of
from pipeline.engine import families


@pytest.mark.parametrize("family", families.names())
def test_every_family_has_a_group(family: str) -> None:
    assert family in GROUP_OF, f"add '{family}' to pipeline/checkpoints/groups.py"


def test_groups_are_those_that_are_explained() -> None:
    assert set(GROUP_OF.values()) == set(GROUPS)
    assert group_of("somebody.elses") == "other"
