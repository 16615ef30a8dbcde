"""The fields of a rank table, read one by one; each that is wrong is reported."""

import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# HCCL also takes "007", but nobody means it.
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")

_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string"}


@dataclass(frozen=True)
class Violation:
    """What is wrong, where (``server_list[0].device[3].device_ip``), and what to do about it."""

    path: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem} -> {self.remedy}"


@dataclass
class DeviceEntry:
    """One device as a table has it; None for what could not be read."""

    path: str
    device_id: int | None
    rank_id: int | None
    device_ip: str | None
    addresses: list[Address] | None = None


@dataclass
class ServerEntry:
    """One server as a table has it; ``whole`` if all its devices could be found."""

    path: str
    server_id: str | None
    devices: list[DeviceEntry]
    whole: bool = True


@dataclass
class Report:
    """What is wrong with a table, what else may surprise its user, and the servers it names."""

    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    servers: list[ServerEntry] = field(default_factory=list)

    def add(self, path: str, problem: str, remedy: str) -> None:
        """Add a violation."""
        self.violations.append(Violation(path, problem, remedy))


class Fields:
    """A JSON object inside a rank table, read field by field.

    Every method returns None for a field that is missing or wrong, and reports it. So a check sees
    what is right, and one mistake does not hide the others.
    """

    def __init__(self, report: Report, value: dict[str, Any], path: str = "") -> None:
        self.report = report
        self.value = value
        self.path = path

    def at(self, key: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, problem: str, remedy: str) -> None:
        """Report a field."""
        self.report.add(self.at(key), problem, remedy)

    def length(self, key: str) -> int:
        """Return the length of a list, 0 if the field is none."""
        value = self.value.get(key)
        return len(value) if isinstance(value, list) else 0

    def text(self, key: str, remedy: str, required: bool = True) -> str | None:
        """Return a string; ``remedy`` says what to do if it is missing or empty."""
        value: str | None = self._value(key, str, "a string belongs", remedy, required)
        if value == "" and required:
            self.wrong(key, "empty", remedy)
            return None
        return value

    def optional_texts(self, *keys: str) -> None:
        """Check strings that nothing depends on."""
        for key in keys:
            self.text(key, "write a string, or leave it out", required=False)

    def decimal(self, key: str, remedy: str, required: bool = True) -> int | None:
        """Return a number that is written as a string of decimal digits."""
        value = self.text(key, remedy, required)
        if value is None:
            return None
        if _DECIMAL.fullmatch(value):
            return int(value)
        number = value.strip().lstrip("0") or "0"
        if value.strip() and _DECIMAL.fullmatch(number):
            remedy = f'write "{number}"'
        self.wrong(key, f"{quoted(value)} is not a plain decimal number", remedy)
        return None

    def count(self, key: str, actual: int, has: str, of: str = "", required: bool = True) -> None:
        """Check a number of things, written as a string; ``actual`` 0: nobody knows."""
        remedy = f'write "{actual}"' if actual else f"write the number{of}, as a string"
        count = self.decimal(key, remedy, required)
        if count is not None and actual and count != actual:
            self.wrong(key, f"{count}, but {has}", remedy)

    def integer(self, key: str, low: int, high: int, required: bool = True) -> int | None:
        """Return a JSON number, as version 2.0 has them, from a range."""
        remedy = f"write a whole number from {low} to {high}"
        belongs = "a number belongs in version 2.0"
        value: int | None = self._value(key, int, belongs, remedy, required)
        if value is not None and not low <= value <= high:
            self.wrong(key, f"{value} is out of range", remedy)
            return None
        return value

    def children(self, key: str, what: str) -> "list[Fields]":
        """Return the objects of a list that must not be empty; ``what`` names them."""
        remedy = f"write a list of {what}"
        items = self._value(key, list, "a list belongs", remedy, required=True)
        if items == []:
            self.wrong(key, "an empty list", remedy)
        children = []
        for index, item in enumerate(items or ()):
            path = f"{self.at(key)}[{index}]"
            if isinstance(item, dict):
                children.append(Fields(self.report, item, path))
            else:
                remedy = f"take it out, or write one of the {what}"
                self.report.add(path, f"{kind(item)} where an object belongs", remedy)
        return children

    def addresses(self, key: str, remedy: str, required: bool = True) -> list[Address] | None:
        """Return IP addresses, most often just one, from a string with commas between them.

        Where none are required there may be none; None stands for wrong ones.
        """
        value = self.text(key, remedy, required)
        if not value:
            return None if required or self.value.get(key, "") != "" else []
        parts = value.split(",")
        found = [address for part in parts if (address := self._address(key, part, remedy))]
        return found if len(found) == len(parts) else None

    def _address(self, key: str, text: str, remedy: str) -> Address | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            problem = f"{quoted(text)} is not an IPv4 or IPv6 address"
        else:
            # HCCL would take these too, and then wait for a connection that never comes.
            if address.is_unspecified or address.is_loopback or address.is_multicast:
                problem = f"{text} cannot be the address of a network port"
            elif isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
                problem = f"{text} names an interface, which has a meaning on one machine only"
                remedy = f'write "{text.split("%")[0]}"'
            else:
                return address
        self.wrong(key, problem, remedy)
        return None

    def _value(self, key: str, wanted: type, belongs: str, remedy: str, required: bool) -> Any:
        value = self.value.get(key)
        if type(value) is wanted:  # which True, for one, is not an int
            return value
        problem = f"{kind(value)} where {belongs}"
        if key not in self.value:
            problem = "missing"
        elif wanted is str and type(value) in (int, float):
            problem = f"{value} is a number, and HCCL reads strings only"
            remedy = f'write "{value}"'
        elif wanted is int and isinstance(value, str):
            problem = f"{quoted(value)} is a string where {belongs}"
            remedy = f"write {value}" if value.isdecimal() else remedy
        if required or key in self.value:
            self.wrong(key, problem, remedy)
        return None


def kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    return "an object" if isinstance(value, dict) else _KINDS.get(type(value), "a list")


def quoted(text: str) -> str:
    """Return a string of the table in quotes, shortened if it is long."""
    shown = text if len(text) <= 70 else text[:66] + "..."
    return json.dumps(shown, ensure_ascii=False)  # a line end in it must not break the line
