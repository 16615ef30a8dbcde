"""Endpoint, region, keys and addressing style, read from environment variables."""

import pytest

from tests.object_store import SECRET, TOKEN
from train.errors import UserError
from train.storage.connection import Connection

OBS = "https://obs.cn-north-4.myhuaweicloud.com"
KEYS = {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}


@pytest.mark.parametrize(
    ("scheme", "variables", "expected"),
    [
        ("obs", {"OBS_ENDPOINT": OBS}, Connection(OBS, "cn-north-4", "virtual")),
        ("obs", {"AWS_REGION": "cn-north-4"}, Connection(OBS, "cn-north-4", "virtual")),
        (
            "obs",
            {"S3_ENDPOINT": OBS[8:], **KEYS},
            Connection(OBS, "cn-north-4", "virtual", "k", "s"),
        ),
        (
            "obs",
            {"S3_ENDPOINT": "10.0.0.1:9000", "S3_USE_HTTPS": "0"},
            Connection("http://10.0.0.1:9000", None, "path"),
        ),
        (
            "s3",
            {
                "AWS_ENDPOINT_URL": "https://minio.site",
                "OBS_ENDPOINT": OBS,
                "S3_ADDRESSING_STYLE": "path",
            },
            Connection("https://minio.site", None, "path"),
        ),
        ("s3", {"AWS_DEFAULT_REGION": "eu-west-1"}, Connection(None, "eu-west-1", "virtual")),
        (
            "s3",
            {**KEYS, "AWS_SESSION_TOKEN": "of other keys"},
            Connection(None, None, "virtual", "k", "s"),
        ),
    ],
)  # fmt: skip
def test_variables(scheme: str, variables: dict[str, str], expected: Connection) -> None:
    assert Connection.read(scheme, variables) == expected


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {},
            "obs:// needs the variable OBS_ENDPOINT (or storage.endpoint in a configuration), for",
        ),
        (
            {"OBS_ENDPOINT": OBS, "ACCESS_KEY_ID": "k"},
            "the variable ACCESS_KEY_ID is set, but SECRET_ACCESS_KEY is not",
        ),
        (
            {"OBS_ENDPOINT": OBS, "OBS_SECRET_ACCESS_KEY": "k"},
            "the variable OBS_SECRET_ACCESS_KEY is set, but OBS_ACCESS_KEY_ID is not",
        ),
        ({"OBS_ENDPOINT": "me:key@host"}, "the variable OBS_ENDPOINT must be like https://HOST"),
        ({"OBS_ENDPOINT": "https://[key"}, "the variable OBS_ENDPOINT must be like https://HOST"),
        ({"OBS_ENDPOINT": "https://h?key"}, "the variable OBS_ENDPOINT must be like https://HOST"),
        ({"OBS_ENDPOINT": "ftp://host"}, "the variable OBS_ENDPOINT must be like https://HOST"),
        (
            {"OBS_ENDPOINT": OBS, "S3_ADDRESSING_STYLE": "auto"},
            "ADDRESSING_STYLE must be virtual or path, not 'auto'",
        ),
    ],
)
def test_wrong_variables(variables: dict[str, str], text: str) -> None:
    with pytest.raises(UserError) as caught:
        Connection.read("obs", variables)
    assert text in str(caught.value)


def test_secrets_are_not_shown() -> None:
    shown = repr(Connection("https://host", None, "path", "a key", SECRET, TOKEN))
    assert SECRET not in shown and TOKEN not in shown and "a key" not in shown
