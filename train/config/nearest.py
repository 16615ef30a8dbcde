"""The nearest of some words to one that is misspelt."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Return ``": did you mean X?"`` for the nearest of some words, or nothing."""
    near = nearest_word(word, choices)
    return f": did you mean {near}?" if near is not None else ""


def nearest_word(word: object, choices: Iterable[str]) -> str | None:
    """Return the word that is nearest to a misspelt one, None if none is near."""
    by_lower = {_plain(choice): choice for choice in choices}
    text = _plain(str(word))
    found = difflib.get_close_matches(text, by_lower, n=1, cutoff=0.6)
    if not found and len(text) >= 3:
        found = [lower for lower in by_lower if lower.startswith(text) or text.startswith(lower)]
    return by_lower[found[0]] if found else None


def is_close(word: str, near: str) -> bool:
    """Return whether two words are so near that hardly anything else can be meant."""
    return difflib.SequenceMatcher(None, _plain(word), _plain(near)).ratio() >= 0.75


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
