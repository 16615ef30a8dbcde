"""The section ``storage`` of a configuration: how buckets are reached, and where copies are kept.

Every value has an environment variable too; what the configuration says wins. Secrets are read
from it, but never written: they are in no dump of a configuration and in no message.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic_core import PydanticCustomError

from train.errors import UserError
from train.storage.address import check_location, is_remote
from train.storage.connection import Connection, is_endpoint
from train.storage.retry import Retry

_VARIABLES = {
    "cache_size": "MTLN_STORAGE_CACHE_SIZE",
    "wait_seconds": "MTLN_STORAGE_WAIT",
    "upload_seconds": "MTLN_STORAGE_UPLOAD",
    "upload_every": "MTLN_STORAGE_UPLOAD_EVERY",
    "tries": "MTLN_STORAGE_TRIES",
}


def _location(value: object) -> Path | str:
    """Return a path, or the address of something in object storage as a text."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("path_type", "must be a path")
    text = check_location(value)
    return text if is_remote(text) else _at_home(text)


def _local_path(value: object) -> Path:
    """Return a path on this machine."""
    place = _location(value)
    if isinstance(place, str):
        raise ValueError(f"must be a path on this machine, not {place!r}")
    return place


def _at_home(path: str) -> Path:
    """Return a path in which ``~`` and ``~USER`` at the beginning are home folders."""
    if not path.strip():
        raise ValueError("must be a path, not an empty text")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        raise ValueError(f"{path}: there is no home folder {user} on this machine") from None


LocalPath = Annotated[Path, pydantic.BeforeValidator(_local_path)]
"""A path on this machine; ``~`` is the home folder."""

Location = Annotated[Path | str, pydantic.BeforeValidator(_location)]
"""A path, or ``s3://BUCKET/KEY`` or ``obs://BUCKET/KEY`` as a text."""


def key_problem(place: Path | str) -> str | None:
    """Return what is wrong with an address that was put together, or None."""
    try:
        check_location(str(place))
    except ValueError as error:
        return str(error)
    return None


Secret = Annotated[pydantic.SecretStr | None, pydantic.Field(exclude=True, repr=False)]


class StorageConfig(pydantic.BaseModel):
    """Object storage, for ``records``, ``data_root``, ``run_dir`` and ``init_from``.

    ``docs/storage.md`` lists the environment variables that stand for what is not given here.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    endpoint: str | None = None
    """Address of the service, like https://obs.cn-north-4.myhuaweicloud.com."""
    region: str | None = None
    """Region, if the endpoint does not say it."""
    addressing_style: Literal["virtual", "path"] | None = None
    """https://BUCKET.HOST/KEY or https://HOST/BUCKET/KEY; by default ``virtual``, or ``path`` for
    an endpoint that is an IP address or localhost."""
    access_key: Secret = None
    """Access key; better in a variable, since files and command lines are read by others."""
    secret_key: Secret = None
    """Secret key, with ``access_key``."""
    token: Secret = None
    """Security token of temporary keys, with the other two."""
    cache: LocalPath | None = None
    """Folder for the copies of data sets, on a disk of the node; by default ~/.cache/mtln."""
    cache_size: pydantic.ByteSize | None = None
    """The most that they may take, like 200GB; by default as much as the disk holds. Data sets that
    nobody uses are removed to make room, the least recently used first."""
    wait_seconds: pydantic.PositiveFloat | None = None
    """How long the ranks of a node wait for the one that copies; by default 7200."""
    upload_seconds: pydantic.PositiveFloat | None = None
    """How long the end of a run waits for the last results to be uploaded; by default 600."""
    upload_every: pydantic.PositiveFloat | None = None
    """Seconds between uploads of metrics and logs, by default 30; checkpoints go at once."""
    tries: pydantic.PositiveInt | None = None
    """How often a request is tried, after growing pauses; by default 6."""

    @pydantic.field_validator("endpoint")
    @classmethod
    def _endpoint_is_an_address(cls, value: str | None) -> str | None:
        if value and not is_endpoint(value):
            raise ValueError("must be like https://HOST or https://HOST:PORT, without keys in it")
        return value

    @pydantic.model_validator(mode="after")
    def _keys_are_complete(self) -> "StorageConfig":
        if bool(self.access_key) != bool(self.secret_key):
            given, missing = ("access_key", "secret_key")[:: 1 if self.access_key else -1]
            raise ValueError(f"{given} is given, but {missing} is not")
        if self.token and not self.access_key:
            raise ValueError("token needs access_key and secret_key")
        return self

    def variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for :mod:`train.storage.connection`, with what is given here."""
        result = dict(environment)
        given = {
            "ENDPOINT": self.endpoint,
            "REGION": self.region,
            "ADDRESSING_STYLE": self.addressing_style,
        }
        for name, value in given.items():
            if value is not None:
                result |= {f"{prefix}_{name}": value for prefix in ("OBS", "S3")}
        if self.access_key and self.secret_key:
            for prefix in ("OBS_", ""):  # those that count first
                result[f"{prefix}ACCESS_KEY_ID"] = self.access_key.get_secret_value()
                result[f"{prefix}SECRET_ACCESS_KEY"] = self.secret_key.get_secret_value()
                result[f"{prefix}SECURITY_TOKEN"] = (
                    self.token.get_secret_value() if self.token else ""
                )
                result[f"{prefix}SESSION_TOKEN"] = ""
        return result

    def resolved(self, environment: Mapping[str, str]) -> "Limits":
        """Return the values that do not say how a bucket is reached, or their variables'.

        Raises:
            UserError: A variable has no allowed value.
        """
        values: dict[str, Any] = {}
        for key, variable in _VARIABLES.items():
            value = getattr(self, key)
            if value is None and environment.get(variable):
                value = _read(key, variable, environment[variable])
            if value is not None:
                values[key] = value
        return Limits(**values)

    def cache_folder(self, environment: Mapping[str, str]) -> Path:
        """Return where copies of data sets are kept."""
        if self.cache is not None:
            return self.cache
        if folder := environment.get("MTLN_STORAGE_CACHE"):
            return Path(folder).expanduser()
        if folder := environment.get("XDG_CACHE_HOME"):
            return Path(folder, "mtln")
        return Path("~/.cache/mtln").expanduser()

    def local_copy(self, address: str, environment: Mapping[str, str] = os.environ) -> Path:
        """Return the folder in the cache for the data set at an address.

        Raises:
            UserError: A variable has no allowed value.
        """
        scheme, _, rest = address.partition("://")
        endpoint = Connection.read(scheme, self.variables(environment)).endpoint
        digest = hashlib.sha256(f"{endpoint} {address}".encode()).hexdigest()[:16]
        name = rest.rpartition("/")[2]
        readable = "".join(c if (c.isascii() and c.isalnum()) or c in "-_" else "_" for c in name)
        return self.cache_folder(environment) / "data" / f"{readable[:40]}-{digest}"


def retry_without_config() -> Retry:
    """Return how often a program that has no configuration tries a request.

    Raises:
        UserError: The variable has no allowed value.
    """
    return Retry(StorageConfig().resolved(os.environ).tries)


class Limits(pydantic.BaseModel):
    """Limits of the transfers, with defaults: see :class:`StorageConfig` for what they mean."""

    model_config = pydantic.ConfigDict(frozen=True)

    cache_size: pydantic.ByteSize | None = None
    wait_seconds: float = 7200.0
    upload_seconds: float = 600.0
    upload_every: float = 30.0
    tries: int = 6


def _read(key: str, variable: str, text: str) -> Any:
    try:
        return getattr(StorageConfig.model_validate({key: text}), key)
    except pydantic.ValidationError:
        allowed = "a size like 200GB" if key == "cache_size" else "a number above 0"
        raise UserError(f"environment: {variable} must be {allowed}, not {text!r}") from None
