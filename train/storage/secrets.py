"""Which settings of a configuration are secret, and what is shown of them."""

from collections.abc import Iterable, Sequence

_SECRETS = frozenset({"access_key", "secret_key", "token"})


def is_secret(key: Sequence[str]) -> bool:
    """Return whether what stands at this place of a configuration must not be repeated."""
    return list(key[:1]) == ["storage"] and (len(key) == 1 or key[1] in _SECRETS)


def shown(word: str) -> str:
    """Return a word of a command line, without its value if it is a setting that is secret."""
    key, equals, _ = word.partition("=")
    return f"{key}=..." if equals and is_secret(key.split(".")) else word


def shown_words(words: Iterable[str]) -> list[str]:
    """Return the words of a command line as they may be shown."""
    return [shown(word) for word in words]
