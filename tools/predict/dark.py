"""Values of 16 bits that use little of their range: the network would see them nearly black."""

from collections.abc import Callable

from tools.common.console import printable
from tools.prepare.deep_values import Spread, is_nearly_black, range_advice


class DarkWarning:
    """Warns of the first such file, and not again.

    Args:
        say: Prints a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._is_told = False

    def look_at(self, file: str, spread: Spread | None) -> None:
        """Warn if need be.

        Args:
            file: What the user calls it.
            spread: Which of its values it uses; None: they have 8 bits, or their range is given.
        """
        if spread is None or self._is_told or not is_nearly_black(spread[1]):
            return
        self._is_told = True
        low, high = spread
        self._say(
            f"warning: {printable(file)}: 16 bits that use about {low:.0f}..{high:.0f} of 0..65535 "
            f"are nearly black to the network: {range_advice(low, high)} (others like it are not "
            "named)"
        )
