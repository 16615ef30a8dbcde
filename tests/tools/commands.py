"""Running ``python -m tools`` in the test's own process, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def assert_error(self, *parts: str) -> None:
        """Exit code 2 and one line on stderr that holds all the parts."""
        progress = " picture ...", " pictures ...", " pixels ..."
        errors = [line for line in self.err.splitlines() if not line.endswith(progress)]
        assert self.code == 2, self.err
        assert len(errors) == 1 and errors[0].startswith("error: "), self.err
        for part in parts:
            assert part in errors[0]


# The fixture ``tools``: takes the arguments of the command line.
Tools = Callable[..., Outcome]
