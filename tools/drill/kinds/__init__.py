"""The faults: every kind is a row of the table."""

from tools.drill.kinds import (
    damage,
    disks,
    kills,
    numbers,
    second_start,
    signals,
    standstill,
    stores,
)
from tools.drill.kinds.kind import Kind

# In the order of the table.
KINDS: dict[str, Kind] = {
    kind.key: kind
    for module in (kills, signals, standstill, disks, damage, stores, numbers, second_start)
    for kind in module.KINDS
}
