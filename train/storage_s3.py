"""Object storage through the S3 protocol: Amazon S3, Huawei Cloud OBS, MinIO and their like.

Everything comes from environment variables; of several that mean the same, the first that is set
counts (for ``s3://``, those that begin with OBS_ come last instead of first):

================  ==================================================================================
endpoint          OBS_ENDPOINT, S3_ENDPOINT, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; without one,
                  Amazon's own, and for ``obs://`` that of Huawei Cloud in the region
region            OBS_REGION, S3_REGION, AWS_REGION, AWS_DEFAULT_REGION; or read off the endpoint
keys              OBS_ACCESS_KEY_ID, ACCESS_KEY_ID or AWS_ACCESS_KEY_ID, with ..._SECRET_ACCESS_KEY
                  and, for temporary keys, ..._SECURITY_TOKEN or ..._SESSION_TOKEN of the same
                  prefix; without any, what the AWS tools would use (profile, role of the machine)
addressing style  OBS_ADDRESSING_STYLE, S3_ADDRESSING_STYLE: ``virtual`` (https://BUCKET.HOST/KEY,
                  the default, since OBS refuses the other) or ``path`` (https://HOST/BUCKET/KEY,
                  the default for an endpoint that is an IP address or localhost)
================  ==================================================================================
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from train.errors import UserError
from train.storage import File, Tick, is_visible

_HUAWEI = re.compile(r"^obs\.([a-z0-9-]+)\.myhuaweicloud\.(com|cn|eu)$")
_BUCKET_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
_STYLES = ("virtual", "path")
_CONNECT_SECONDS = 15
_READ_SECONDS = 60


@dataclass(frozen=True)
class Access:
    """How to reach a store.

    Attributes:
        endpoint: address of the service, None for Amazon's.
        region: None if it is not known.
        style: addressing style, "virtual" or "path".
        key: access key, None to look where the AWS tools look.
        secret: secret key.
        token: of temporary keys.
    """

    endpoint: str | None
    region: str | None
    style: str
    # Not in messages and tracebacks.
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, scheme: str, environment: Mapping[str, str]) -> Access:
        """Reads the variables named at the top of this module.

        Raises:
            UserError: they contradict each other, or one is missing.
        """
        prefixes = ("OBS_", "S3_", "AWS_") if scheme == "obs" else ("S3_", "AWS_", "OBS_")
        region = _first(environment, prefixes, "REGION") or environment.get("AWS_DEFAULT_REGION")
        endpoint = _endpoint(environment, prefixes)
        if endpoint is None and scheme == "obs":
            if region is None:
                raise UserError(
                    "obs:// needs the variable OBS_ENDPOINT, for instance "
                    "https://obs.cn-north-4.myhuaweicloud.com"
                )
            endpoint = f"https://obs.{region}.myhuaweicloud.com"
        host = urlsplit(endpoint).hostname if endpoint else None
        if region is None and host and (found := _HUAWEI.match(host)):
            region = found[1]
        return cls(
            endpoint, region, _style(environment, prefixes, host), *_keys(environment, scheme)
        )


def _first(environment: Mapping[str, str], prefixes: tuple[str, ...], name: str) -> str | None:
    values = (environment.get(prefix + name) for prefix in prefixes)
    return next((value for value in values if value), None)


def _endpoint(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> str | None:
    names = {
        "OBS_": ("OBS_ENDPOINT",),
        "S3_": ("S3_ENDPOINT",),
        "AWS_": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    }
    for name in (name for prefix in prefixes for name in names[prefix]):
        if value := environment.get(name):
            if "://" not in value:  # as MoXing has it
                secure = environment.get("S3_USE_HTTPS", "1") != "0"
                value = f"{'https' if secure else 'http'}://{value}"
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise UserError(
                    f"the variable {name} must be like https://HOST or https://HOST:PORT"
                )
            return value
    return None


def _style(environment: Mapping[str, str], prefixes: tuple[str, ...], host: str | None) -> str:
    style = _first(environment, prefixes, "ADDRESSING_STYLE")
    if style is None:
        return "path" if host and _is_machine(host) else "virtual"
    if style not in _STYLES:
        raise UserError(f"the variable ..._ADDRESSING_STYLE must be virtual or path, not {style!r}")
    return style


def _is_machine(host: str) -> bool:
    """Whether names of buckets cannot be put before a host name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _keys(environment: Mapping[str, str], scheme: str) -> tuple[str | None, str | None, str | None]:
    """Access key, secret key and token, all of one prefix."""
    for prefix in ("OBS_", "", "AWS_") if scheme == "obs" else ("", "AWS_", "OBS_"):
        key = environment.get(f"{prefix}ACCESS_KEY_ID")
        secret = environment.get(f"{prefix}SECRET_ACCESS_KEY")
        if bool(key) != bool(secret):
            names = f"{prefix}ACCESS_KEY_ID", f"{prefix}SECRET_ACCESS_KEY"
            given, missing = names if key else names[::-1]
            raise UserError(f"the variable {given} is set, but {missing} is not")
        if key:
            tokens = (f"{prefix}SECURITY_TOKEN", f"{prefix}SESSION_TOKEN")
            return key, secret, next((v for t in tokens if (v := environment.get(t))), None)
    return None, None, None


class Bucket:
    """A store in a bucket.

    Args:
        address: ``s3://BUCKET[/KEY]`` or ``obs://BUCKET[/KEY]``.
        environment: variables, see the top of this module.

    Raises:
        UserError: the address or a variable cannot be right.
    """

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        scheme, _, rest = address.partition("://")
        name, _, key = rest.partition("/")
        if "@" in name:  # and it is not repeated here
            raise UserError(f"{scheme}://: keys do not belong into an address but into variables")
        if not _BUCKET_NAME.match(name):
            raise UserError(f"{address}: {name!r} is not the name of a bucket")
        self.address = address.rstrip("/")
        self._root = f"{name}/{key}".rstrip("/")
        self._file: str | None = None
        self._access = Access.read(scheme, environment)

    def files(self) -> dict[str, File]:
        """All files by their part of the key after the address."""
        found = {}
        for path, info in self._system.find(self._root, detail=True, refresh=True).items():
            # What consoles show as an empty folder is an empty object whose key ends in "/".
            if info["type"] != "file" or info["Key"].endswith("/"):
                continue
            if path == self._root:  # the address is that of a file
                self._file = path
                name = path.rpartition("/")[2]
                return {name: File(info["size"], info["LastModified"].timestamp())}
            name = path.removeprefix(f"{self._root}/")
            if is_visible(name):
                found[name] = File(info["size"], info["LastModified"].timestamp())
        return found

    def size(self, name: str) -> int:
        """The size of one file in bytes."""
        return int(self._system.info(self._path(name), refresh=True)["size"])

    def read(self, name: str, into: Path, tick: Tick) -> None:
        """Downloads a file."""
        # In one stream: parts that are asked for one by one may be of two versions of the file.
        path = self._file or self._path(name)
        self._system.get_file(path, str(into), callback=_callback(tick), max_concurrency=1)

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Uploads a file; the object appears when all of it has arrived."""
        self._system.put_file(str(source), self._path(name), callback=_callback(tick))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _system(self) -> Any:
        import s3fs  # takes half a second

        access = self._access
        system = s3fs.S3FileSystem(
            key=access.key,
            secret=access.secret,
            token=access.token,
            endpoint_url=access.endpoint,
            client_kwargs={"region_name": access.region} if access.region else {},
            config_kwargs={
                "signature_version": "s3v4",
                "s3": {"addressing_style": access.style},
                # OBS takes neither checksums that come after the body nor those of botocore.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": _READ_SECONDS,
                # Whoever uses a store tries again; three layers that do are slow to give up.
                "retries": {"total_max_attempts": 1},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        system.retries = 1
        return system


def _callback(tick: Tick) -> Any:
    from fsspec.callbacks import Callback

    class _Ticking(Callback):  # type: ignore[misc, unused-ignore]
        def relative_update(self, inc: int = 1) -> None:
            tick(inc)

    return _Ticking()
