"""Which CANN and which driver a MindSpore release goes with."""

from __future__ import annotations

import re

# MindSpore: (the CANN releases it accepts, best last; the driver released with them, if known).
# From MindSpore's release notes; 2.10: from the check MindSpore itself makes when it starts, and
# the version its custom operators are built with. 2.8 is a guess: it is in no table.
_TABLE: dict[str, tuple[tuple[str, ...], str]] = {
    "2.4.10": (("8.0.0",), "24.1.0"),
    "2.5.0": (("8.0.0",), "24.1.0"),
    "2.6.0": (("8.1.RC1",), "25.0.RC1"),
    "2.7.0": (("8.2.RC1",), "25.2.0"),
    "2.7.1": (("8.3.RC1",), "25.3.RC1"),
    "2.7.2": (("8.5.0",), "25.5.0"),
    "2.8.0": (("8.5.0",), "25.5.0"),
    "2.9.0": (("9.0.0",), "26.0.RC1"),
    "2.10.0": (("8.2", "8.3", "8.5", "9.0", "9.1"), ""),
}


def accepted_cann(mindspore: str) -> tuple[str, ...]:
    """Returns the CANN releases a MindSpore accepts, best last; nothing if that is unknown."""
    return _TABLE.get(mindspore, ((), ""))[0]


def driver_for(mindspore: str) -> str:
    """Returns the driver that was released with a MindSpore's CANN; "" if that is unknown."""
    return _TABLE.get(mindspore, ((), ""))[1]


def matches(cann: str, accepted: tuple[str, ...]) -> bool:
    """Whether a CANN is one of the accepted ones: 9.1.0 and 9.1.RC1 are 9.1, but 9.10 is not."""
    return any(_parts(cann)[: len(_parts(release))] == _parts(release) for release in accepted)


def _parts(version: str) -> list[str]:
    return re.split(r"[.\-]", version.lower())
