"""Folders on the disk and in object storage (``s3://``, ``obs://``) behind one interface.

A :class:`Store` is a tree of files below an address. :func:`open_store` opens one, :func:`copy`
makes one like another. Nothing here is imported from s3fs before a bucket is really used.

Files and folders whose name begins with a dot do not count: this project names what is not whole
yet like that, and :func:`copy` does so too.
"""

from train.storage.address import (
    SCHEMES,
    check_location,
    is_remote,
    is_visible,
    local_run_folder,
)
from train.storage.copier import Copied, Copier, Plan, copy
from train.storage.retry import Damaged, Stopped, StorageError, reason
from train.storage.stores import File, Folder, Store, Tick, open_store

__all__ = [
    "SCHEMES",
    "Copied",
    "Copier",
    "Damaged",
    "File",
    "Folder",
    "Plan",
    "Stopped",
    "StorageError",
    "Store",
    "Tick",
    "check_location",
    "copy",
    "is_remote",
    "is_visible",
    "local_run_folder",
    "open_store",
    "reason",
]
