"""Where a run writes: a folder, a small disk of its own, or object storage on loopback."""

import contextlib
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from train.storage.address import local_run_folder

_DISK_MB = 48
_BUCKET = "drill"
_MOTO = ("moto", "flask")
_KEY = "AKIDOFTHEDRILL"
_SIGNED = f"AWS4-HMAC-SHA256 Credential={_KEY}/20260101/us-east-1/s3/aws4_request, Signature=0"


@dataclass
class Place:
    """Where a run writes.

    Attributes:
        run_dir: The run folder, as the command line names it.
        run_folder: The same as a folder, as this process sees it.
        prefix: A command in whose place the launcher is to run.
        variables: What its environment has on top.
    """

    run_dir: str
    run_folder: Path
    prefix: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


class Opener(Protocol):
    """A kind of place."""

    def missing(self) -> str | None:
        """Return why there is none on this machine; None if there is."""

    def open(self, folder: Path) -> "contextlib.AbstractContextManager[Place]":
        """Make one, for a run in a folder."""


class Folders:
    """The disk of the drill."""

    def missing(self) -> str | None:
        """See the protocol."""
        return None

    @contextmanager
    def open(self, folder: Path) -> Iterator[Place]:
        """See the protocol."""
        yield Place(str(folder / "run"), folder / "run")


@dataclass
class Disk(Place):
    """A disk in memory, mounted where only the job and a process that holds it see it."""

    holder: "subprocess.Popen[bytes] | None" = None

    def fill(self) -> None:
        """Leave no byte free."""
        filler = self.run_folder.parent / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))

    def clear(self) -> None:
        """Undo :meth:`fill`."""
        (self.run_folder.parent / "filler").unlink(missing_ok=True)

    def forbid_writing(self) -> None:
        """Let nobody open a file in the run folder to write; what is open stays so, as logs are."""
        # A second mount in its place: the first cannot become read-only while files are open.
        self._mount(f'mount --bind "{self.run_dir}" "{self.run_dir}"')
        self._mount(f'mount -o remount,bind,ro "{self.run_dir}"')

    def allow_writing(self) -> None:
        """Undo :meth:`forbid_writing`."""
        self._mount(f'umount -l "{self.run_dir}"')

    def _mount(self, command: str) -> None:
        subprocess.run([*self.prefix, "sh", "-c", command], check=True, capture_output=True)


class Disks:
    """Disks in memory, where mount namespaces are allowed."""

    def __init__(self) -> None:
        self._unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-m"]

    def missing(self) -> str | None:
        """See the protocol."""
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            return "unshare and nsenter (util-linux) are not on this machine"
        script = "mount -t tmpfs -o size=1m drill /mnt"
        tried = subprocess.run([*self._unshare, "sh", "-c", script], capture_output=True, text=True)
        if tried.returncode == 0:
            return None
        return f"no mount without root or user namespaces: {tried.stderr.strip().splitlines()[-1:]}"

    @contextmanager
    def open(self, folder: Path) -> Iterator[Disk]:
        """See the protocol."""
        mount = folder / "disk"
        mount.mkdir()
        script = f'mount -t tmpfs -o size={_DISK_MB}m drill "$0" && echo ready && exec sleep 86400'
        holder = subprocess.Popen(
            [*self._unshare, "sh", "-c", script, str(mount)], stdout=subprocess.PIPE
        )
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
            seen = Path(f"/proc/{holder.pid}/root{mount}")
            user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
            prefix = ["nsenter", "-t", str(holder.pid), *user, "-m"]
            yield Disk(str(mount / "run"), seen / "run", prefix, {}, holder)
        finally:
            holder.kill()
            holder.wait()


@dataclass
class Store(Place):
    """A bucket that can vanish, with its content kept."""

    server: Any = None

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Answer nobody for a while."""
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()


class Stores:
    """Object storage on loopback (moto), where it is installed."""

    def missing(self) -> str | None:
        """See the protocol."""
        lacking = [name for name in _MOTO if importlib.util.find_spec(name) is None]
        if lacking:
            return f"{', '.join(lacking)} not installed (requirements-test.txt)"
        return None

    @contextmanager
    def open(self, folder: Path) -> Iterator[Store]:
        """See the protocol."""
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells every request
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        server.start()
        endpoint = f"http://127.0.0.1:{port}"
        try:
            request = urllib.request.Request(
                f"{endpoint}/{_BUCKET}", None, {"Authorization": _SIGNED}, method="PUT"
            )
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()
            # The servers of one process share what they hold: each run has a name of its own there.
            address = f"s3://{_BUCKET}/{folder.parent.name}-{folder.name}"
            variables = {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": _KEY,
                "AWS_SECRET_ACCESS_KEY": "secretofthedrill",
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": "127.0.0.1",
                "MTLN_STORAGE_TRIES": "2",
                "MTLN_STORAGE_UPLOAD_EVERY": "1",
                "MTLN_STORAGE_UPLOAD": "20",
            }
            yield Store(address, folder / local_run_folder(address), [], variables, server)
        finally:
            server.stop()


PLACES: dict[str, Opener] = {"folder": Folders(), "disk": Disks(), "store": Stores()}
