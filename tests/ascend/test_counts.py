"""Every feature compiles for every chip, and a step launches what it launched before."""

import pytest

from tests.ascend import counts
from tests.ascend.stand_in import StandIn


@pytest.mark.slow
@pytest.mark.parametrize(("case", "mode"), counts.PAIRS)
def test_a_small_network(built: StandIn, case: str, mode: str) -> None:
    found = counts.measure(case, mode)
    assert found.refused == ()
    assert found.errors == {}
    # A change for the better or on purpose: python -m tests.ascend.counts writes them anew.
    assert counts.pinned(found) == counts.read()[case][mode]
