"""Two machines for launchers: network namespaces with a cable between them.

Where those cannot be made (that takes root and iproute2) both are this machine.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Node:
    """Where a launcher runs.

    Attributes:
        prefix: The command that runs another one there.
        address: The address of the place.
    """

    prefix: tuple[str, ...]
    address: str


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Node, Node]]:
    names = [f"mtln{os.getpid()}-{number}" for number in (0, 1)]
    addresses = ["10.213.0.1", "10.213.0.2"]
    commands = [f"netns add {name}" for name in names]
    commands.append(f"link add cable netns {names[0]} type veth peer cable netns {names[1]}")
    for name, address in zip(names, addresses, strict=True):
        commands += [
            f"-n {name} address add {address}/24 dev cable",
            f"-n {name} link set cable up",
            f"-n {name} link set lo up",
            f"netns exec {name} true",
        ]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield Node((), "127.0.0.1"), Node((), "127.0.0.1")
    else:
        one, other = (
            Node(("ip", "netns", "exec", name), address)
            for name, address in zip(names, addresses, strict=True)
        )
        yield one, other
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
