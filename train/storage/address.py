"""What an address of object storage looks like: ``s3://BUCKET/KEY`` or ``obs://BUCKET/KEY``."""

import re
from pathlib import Path

SCHEMES = ("s3://", "obs://")

_NO_KEYS = "keys do not belong into an address (before an @, after a ?) but into variables"

# What is meant as an address but is none: obs:/x, S3://x, s3//x.
_ALMOST_REMOTE = re.compile(r"(s3|obs)(?::/*|//+)", re.IGNORECASE)
_BUCKET_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")


def is_remote(address: str) -> bool:
    """Return whether an address is one of object storage."""
    return address.startswith(SCHEMES)


def is_visible(name: str) -> bool:
    """Return whether a file of this name counts: no part of it begins with a dot."""
    return not any(part.startswith(".") for part in name.split("/"))


def split_address(address: str) -> tuple[str, str, str]:
    """Return scheme, bucket and key of ``s3://BUCKET[/KEY]`` or ``obs://BUCKET[/KEY]``.

    Raises:
        ValueError: It is no such address; the message repeats no keys that may stand in it.
    """
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if "@" in bucket or "?" in rest:
        raise ValueError(f"{scheme}://: {_NO_KEYS}")
    if not _BUCKET_NAME.match(bucket):
        raise ValueError(f"{address}: {bucket!r} is not the name of a bucket")
    return scheme, bucket, key.rstrip("/")


def check_location(text: str) -> str:
    """Return a path, or an address without a slash at its end whose key could be a path as well.

    Raises:
        ValueError: It is neither.
    """
    if not is_remote(text):
        if almost := _ALMOST_REMOTE.match(text):
            rest = text[almost.end() :]
            right = f"{almost[1].lower()}://{rest}"
            if "@" in rest or "?" in rest:
                raise ValueError(f"{almost[1].lower()}://: {_NO_KEYS}")
            raise ValueError(f"{text}: an address of object storage is written {right}")
        if "://" in text:
            scheme = text.partition("://")[0]
            raise ValueError(
                f"must be a path or begin with {' or '.join(SCHEMES)}, not with {scheme}://"
            )
        return text
    _, _, key = split_address(text)
    if key and not set(key.split("/")).isdisjoint(("", ".", "..")):
        raise ValueError(f"{text}: the key must have no empty part and none that is . or ..")
    return text.rstrip("/")


def local_run_folder(run_dir: str) -> Path:
    """Return the folder in which a run works whose run folder is ``run_dir``."""
    return Path("runs", run_dir.partition("://")[2]) if is_remote(run_dir) else Path(run_dir)


def default_run_dir(config: Path) -> str:
    """Return the run folder of a configuration file that names none."""
    return f"runs/{config.stem}"
