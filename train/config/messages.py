"""What pydantic finds wrong with a value, in the words of a file instead of Python's."""

from pydantic_core import ErrorDetails

_LONGEST_VALUE = 300

_MESSAGES = {
    **dict.fromkeys(["dict_type", "model_type", "dataclass_type"], "must hold keys and values"),
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "must be a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "must be a number"),
    **dict.fromkeys(["bool_type", "bool_parsing"], "must be true or false"),
    **dict.fromkeys(["list_type", "tuple_type"], "must be a list"),
    "finite_number": "must be a finite number",
    **dict.fromkeys(["byte_size", "byte_size_unit"], "must be a size like 500MB or 4GB"),
    "path_type": "must be a path",
    "string_type": "must be a text (in quotes, if it looks like a number)",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} value(s)",
    "too_long": "must have at most {max_length} values",
    "string_pattern_mismatch": "a name is made of letters, digits, _ and -, with a letter first",
}


def place(error: ErrorDetails) -> tuple[str, ...]:
    """Return the keys that lead to the value that one of pydantic's errors is about."""
    return tuple(str(part) for part in error["loc"] if part != "[key]")


def explain(error: ErrorDetails, with_value: bool = True) -> str:
    """Return one line on one of pydantic's errors, without its place.

    Args:
        error: The error.
        with_value: Whether the line may show the value, which may be a secret.
    """
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    message = _MESSAGES.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    shown = f", not {error['input']!r:.{_LONGEST_VALUE}}"
    return message + shown if with_value else message
