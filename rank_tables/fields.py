"""Reads the fields of a rank table one by one, and reports each that is wrong."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

from rank_tables.report import Report

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# HCCL also takes "007", but nobody means it.
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")

_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string"}


class Fields:
    """A JSON object inside a rank table, read field by field.

    Every method returns None for a field that is missing or wrong, and reports it. So a check sees
    what is right, and one mistake does not hide the others.
    """

    def __init__(self, report: Report, value: dict[str, Any], path: str) -> None:
        self.report = report
        self.value = value
        self.path = path

    def at(self, key: str) -> str:
        """Returns the path of a field."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Tells whether there is such a field, whatever its value."""
        return key in self.value

    def length(self, key: str) -> int:
        """Returns the length of a list, 0 if the field is none."""
        value = self.value.get(key)
        return len(value) if isinstance(value, list) else 0

    def text(self, key: str, remedy: str, required: bool = True) -> str | None:
        """Returns a string; ``remedy`` says what to do if it is missing or empty."""
        if key not in self.value:
            if required:
                self.report.add(self.at(key), "missing", remedy)
            return None
        value = self.value[key]
        if isinstance(value, str):
            if value or not required:
                return value
            self.report.add(self.at(key), "empty", remedy)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            problem = f"{value} is a number, and HCCL reads strings only"
            self.report.add(self.at(key), problem, f'write "{value}"')
        else:
            self.report.add(self.at(key), f"{kind(value)} where a string belongs", remedy)
        return None

    def decimal(self, key: str, remedy: str, required: bool = True) -> int | None:
        """Returns a number that is written as a string of decimal digits."""
        value = self.text(key, remedy, required)
        if value is None:
            return None
        if _DECIMAL.fullmatch(value):
            return int(value)
        problem = f"{quoted(value)} is not a plain decimal number"
        number = value.strip().lstrip("0") or "0"
        if value.strip() and _DECIMAL.fullmatch(number):
            remedy = f'write "{number}"'
        self.report.add(self.at(key), problem, remedy)
        return None

    def integer(self, key: str, low: int, high: int, required: bool = True) -> int | None:
        """Returns a JSON number, as version 2.0 has them, from a range."""
        allowed = f"write a whole number from {low} to {high}"
        if key not in self.value:
            if required:
                self.report.add(self.at(key), "missing", allowed)
            return None
        value = self.value[key]
        if isinstance(value, bool) or not isinstance(value, int):
            what = f"{quoted(value)} is a string" if isinstance(value, str) else kind(value)
            problem = f"{what} where a number belongs in version 2.0"
            remedy = f"write {value}" if isinstance(value, str) and value.isdecimal() else allowed
            self.report.add(self.at(key), problem, remedy)
        elif not low <= value <= high:
            self.report.add(self.at(key), f"{value} is out of range", allowed)
        else:
            return value
        return None

    def children(self, key: str, what: str, optional: bool = False) -> Iterator[Fields]:
        """Yields the objects of a list that must not be empty.

        Args:
            key: the field that holds the list.
            what: what its items are, for the message.
            optional: the list may be missing or empty.
        """
        remedy = f"write a list of {what}"
        items = self.value.get(key)
        if key not in self.value:
            if not optional:
                self.report.add(self.at(key), "missing", remedy)
        elif not isinstance(items, list):
            self.report.add(self.at(key), f"{kind(items)} where a list belongs", remedy)
        elif not items and not optional:
            self.report.add(self.at(key), "an empty list", remedy)
        else:
            for index, item in enumerate(items):
                path = f"{self.at(key)}[{index}]"
                if isinstance(item, dict):
                    yield Fields(self.report, item, path)
                else:
                    remedy = f"take it out, or write one of the {what}"
                    self.report.add(path, f"{kind(item)} where an object belongs", remedy)

    def addresses(self, key: str, remedy: str, required: bool = True) -> list[Address] | None:
        """Returns IP addresses, most often just one, from a string with commas between them.

        Where none are required there may be none; None stands for wrong ones.
        """
        value = self.text(key, remedy, required)
        if not value:
            return None if required or self.value.get(key, "") != "" else []
        found = [self._address(key, part, remedy) for part in value.split(",")]
        return None if None in found else [address for address in found if address is not None]

    def _address(self, key: str, text: str, remedy: str) -> Address | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            problem = f"{quoted(text)} is not an IPv4 or IPv6 address"
            self.report.add(self.at(key), problem, remedy)
            return None
        # HCCL would take these too, and then wait for a connection that never comes.
        if address.is_unspecified or address.is_loopback or address.is_multicast:
            problem = f"{text} cannot be the address of a network port"
            self.report.add(self.at(key), problem, remedy)
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            problem = f"{text} names an interface, which has a meaning on one machine only"
            self.report.add(self.at(key), problem, f'write "{text.split("%")[0]}"')
            return None
        return address

    def port(self, key: str) -> int | None:
        """Returns an optional port number, written as a string."""
        remedy = "write a free port from 1024 to 65535, as a string"
        port = self.decimal(key, remedy, required=False)
        if port is None or 1 <= port <= 65535:
            return port
        self.report.add(self.at(key), f"{port} is not a port number", remedy)
        return None


def kind(value: Any) -> str:
    """Returns what a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    return _KINDS.get(type(value), "a list")


def quoted(text: str) -> str:
    """Returns a string of the table in quotes, shortened if it is long."""
    shown = text if len(text) <= 70 else text[:66] + "..."
    return json.dumps(shown, ensure_ascii=False)  # a line end in it must not break the line
