"""Rank tables of Ascend: which NPU of which server is which rank.

HCCL, Ascend's communication library, reads them. Here they are generated, checked, merged,
converted from ModelArts' form, and shown (``python -m rank_tables``), and the launcher reads them
with :func:`load`. Nothing but the standard library is needed (and rich, to show a table).
"""

from rank_tables.load import load
from rank_tables.model import Device, RankTable, RankTableError, Server

__all__ = ["Device", "RankTable", "RankTableError", "Server", "load"]
