"""How object storage is reached: endpoint, region, keys, addressing style.

Everything comes from environment variables; of several that mean the same, the first that is set
counts (for ``s3://``, those that begin with OBS_ come last instead of first):

================  ==================================================================================
endpoint          OBS_ENDPOINT, S3_ENDPOINT, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; without one,
                  Amazon's own, and for ``obs://`` that of Huawei Cloud in the region
region            OBS_REGION, S3_REGION, AWS_REGION, AWS_DEFAULT_REGION; or read off the endpoint
keys              OBS_ACCESS_KEY_ID, ACCESS_KEY_ID or AWS_ACCESS_KEY_ID, with ..._SECRET_ACCESS_KEY
                  and, for temporary keys, ..._SECURITY_TOKEN or ..._SESSION_TOKEN of the same
                  prefix; without any, what the AWS tools would use (profile, role of the machine)
addressing style  OBS_, S3_ or AWS_ADDRESSING_STYLE: ``virtual`` (https://BUCKET.HOST/KEY,
                  the default, since OBS refuses the other) or ``path`` (https://HOST/BUCKET/KEY,
                  the default for an endpoint that is an IP address or localhost)
================  ==================================================================================
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from train.errors import UserError

_HUAWEI = re.compile(r"^obs\.([a-z0-9-]+)\.myhuaweicloud\.(com|cn|eu)$")
_ENDPOINTS = {
    "OBS_": ("OBS_ENDPOINT",),
    "S3_": ("S3_ENDPOINT",),
    "AWS_": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}


@dataclass(frozen=True)
class Connection:
    """How to reach a store.

    Attributes:
        endpoint: Address of the service, None for Amazon's.
        region: None if it is not known.
        style: Addressing style, "virtual" or "path".
        key: Access key, None to look where the AWS tools look.
        secret: Secret key.
        token: Of temporary keys.
    """

    endpoint: str | None
    region: str | None
    style: str
    # Not in messages and tracebacks.
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, scheme: str, environment: Mapping[str, str]) -> "Connection":
        """Read the variables named at the top of this module.

        Raises:
            UserError: They contradict each other, or one is missing.
        """
        prefixes = ("OBS_", "S3_", "AWS_") if scheme == "obs" else ("S3_", "AWS_", "OBS_")
        region = _first(environment, prefixes, "REGION") or environment.get("AWS_DEFAULT_REGION")
        endpoint = _endpoint(environment, prefixes)
        if endpoint is None and scheme == "obs":
            if region is None:
                raise UserError(
                    "obs:// needs the variable OBS_ENDPOINT (or storage.endpoint in a "
                    "configuration), for instance https://obs.cn-north-4.myhuaweicloud.com"
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


def is_endpoint(address: str) -> bool:
    """Return whether an address can be that of a service, without keys in it."""
    try:
        parts = urlsplit(address)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # an IPv6 address or a port that is none
        return False
    return whole and parts.scheme in ("http", "https") and not set("@?#") & set(address)


def _endpoint(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> str | None:
    for name in (name for prefix in prefixes for name in _ENDPOINTS[prefix]):
        if value := environment.get(name):
            if "://" not in value:  # as MoXing has it
                secure = environment.get("S3_USE_HTTPS", "1") != "0"
                value = f"{'https' if secure else 'http'}://{value}"
            if not is_endpoint(value):
                raise UserError(
                    f"the variable {name} must be like https://HOST or https://HOST:PORT"
                )
            return value
    return None


def _style(environment: Mapping[str, str], prefixes: tuple[str, ...], host: str | None) -> str:
    style = _first(environment, prefixes, "ADDRESSING_STYLE")
    if style is None:
        return "path" if host and _is_machine(host) else "virtual"
    if style not in ("virtual", "path"):
        raise UserError(f"the variable ..._ADDRESSING_STYLE must be virtual or path, not {style!r}")
    return style


def _is_machine(host: str) -> bool:
    """Return whether a host is one machine (an IP address or localhost), which needs path style."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _keys(environment: Mapping[str, str], scheme: str) -> tuple[str | None, str | None, str | None]:
    """Return access key, secret key and token, all of one prefix."""
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
