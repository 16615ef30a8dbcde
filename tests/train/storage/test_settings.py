"""Object storage in a configuration: addresses, the section, variables, and secrets."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import launch.arguments
from tests.aliases import WriteConfig
from train.config.reader import dump_config, load_config
from train.config.schema import Config
from train.errors import UserError
from train.storage.address import local_run_folder
from train.storage.connection import Connection
from train.storage.settings import Limits, StorageConfig

KEYS = {"access_key": "AKIDINTHEFILE", "secret_key": "secretinthefile", "token": "tokeninthefile"}
BASE: dict[str, Any] = {
    "datasets": {"ucm": {"records": "data/ucm"}},
    "schedule": {"steps": 4, "consolidate_every": 2},
}


def load(write: WriteConfig, *overrides: str, **tree: Any) -> Config:
    return load_config(write({**BASE, **tree}), list(overrides))


def refused(write: WriteConfig, *overrides: str, **tree: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(write, *overrides, **tree)
    text = str(caught.value)
    assert not any(secret in text for secret in KEYS.values())
    return text.splitlines()


@pytest.mark.parametrize(
    ("root", "records", "expected"),
    [
        (".", "data/ucm", Path("data/ucm")),
        ("/data", "ucm", Path("/data/ucm")),
        ("/data", "s3://bucket/ucm", "s3://bucket/ucm"),
        ("obs://bucket/all sets/", "ucm", "obs://bucket/all sets/ucm"),
        ("obs://bucket/all", "./sub/ucm", "obs://bucket/all/sub/ucm"),
        ("s3://bucket", "ucm", "s3://bucket/ucm"),
        ("s3://bucket/all", "/on/disk/ucm", Path("/on/disk/ucm")),
        ("s3://bucket/all", "obs://other/ucm", "obs://other/ucm"),
    ],
)
def test_where_records_are(
    root: str, records: str, expected: Path | str, write_config: WriteConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OBS_ENDPOINT", "https://obs.cn-north-4.myhuaweicloud.com")
    config = load(write_config, data_root=root, datasets={"ucm": {"records": records}})
    assert config.location_of("ucm") == expected
    folder = config.records_of("ucm")
    assert folder == expected if isinstance(expected, Path) else folder.is_absolute()
    # What is dumped is loaded again as the same.
    assert load_config(write_config(yaml.safe_load(dump_config(config)))) == config


@pytest.mark.parametrize(
    "run_dir",
    ["runs/x", "/abs/x", "s3://bucket/my runs/ü", "obs://b-1/x/", "s3://bucket", "runs/a:b"],
)
def test_launcher_and_training_agree_on_the_run_folder(
    run_dir: str, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the logs would go to another folder than the results, and not be uploaded."""
    config = write_config({**BASE, "run_dir": run_dir})
    ours = load_config(config).run_folder
    assert ours == local_run_folder(run_dir)
    job = launch.arguments.parse([str(config)]).job
    assert job.run_dir == ours
    # The training is told the address.
    assert f"run_dir={run_dir.removesuffix('/')}" in job.worker_command
    given = launch.arguments.parse([str(config), "run_dir=s3://else/where"]).job
    assert given.run_dir == Path("runs/else/where") and given.worker_command[-1].endswith(
        "else/where"
    )


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (
            "run_dir",
            "gs://bucket/x",
            "must be a path or begin with s3:// or obs://, not with gs://",
        ),
        ("run_dir", "s3://", "s3://: '' is not the name of a bucket"),
        ("run_dir", "s3://bucket/a/../b", "the key must have no empty part and none that is . or"),
        ("data_root", "obs://bucket//x", "the key must have no empty part"),
        ("run_dir", f"s3://me:{KEYS['secret_key']}@bucket/x", "keys do not belong into an address"),
        ("run_dir", f"S3://me:{KEYS['secret_key']}@bucket/x", "keys do not belong into an address"),
        ("run_dir", f"s3:/me:{KEYS['secret_key']}@bucket/x", "keys do not belong into an address"),
        ("run_dir", f"s3://bucket?X-Amz-Signature={KEYS['token']}", "keys do not belong into an"),
        (
            "data_root",
            f"obs://bucket/x?AccessKeyId={KEYS['access_key']}",
            "keys do not belong into",
        ),
        ("run_dir", f"https://me:{KEYS['token']}@host/x?{KEYS['token']}", "not with https://"),
        ("run_dir", 5, "must be a path (in quotes, if it looks like a number), not 5"),
    ],
)
def test_wrong_addresses(key: str, value: Any, text: str, write_config: WriteConfig) -> None:
    [line] = refused(write_config, **{key: value})
    assert line.startswith(f"{write_config({})}: {key}: ") and text in line


def test_records_that_lead_out_of_the_root(write_config: WriteConfig) -> None:
    [line] = refused(write_config, data_root="s3://b-1/x", datasets={"u": {"records": "../y"}})
    assert "datasets.u.records: s3://b-1/x/../y: the key must have no" in line


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"endpoint": "host:80"}, "storage.endpoint: must be like https://HOST or"),
        ({"endpoint": f"https://me:{KEYS['token']}@host"}, "storage.endpoint: must be like"),
        ({"endpoint": f"https://:{KEYS['token']}@host"}, "storage.endpoint: must be like"),
        ({"endpoint": f"https://host/?AccessKeyId={KEYS['token']}"}, "storage.endpoint: must be"),
        ({"endpoint": f"https://[{KEYS['token']}"}, "storage.endpoint: must be like"),
        ({"addressing_style": "auto"}, "storage.addressing_style: must be 'virtual' or 'path'"),
        (
            {"cache_size": "much"},
            "storage.cache_size: must be a size like 500MB or 4GB, not 'much'",
        ),
        ({"tries": 0}, "storage.tries: must be above 0, not 0"),
        ({"wait_seconds": -1}, "storage.wait_seconds: must be above 0.0, not -1"),
        (
            {"acces_key": KEYS["access_key"]},
            "acces_key: unknown key: did you mean storage.access_key? (allow",
        ),
        ({"secret_key": KEYS["secret_key"]}, "secret_key is given, but access_key is not"),
        ({"token": KEYS["token"]}, "token needs access_key and secret_key"),
        ({**KEYS, "token": [KEYS["token"]]}, "storage.token: "),
        (KEYS["secret_key"], "storage: must hold keys and values"),
    ],
)
def test_wrong_sections(section: Any, text: str, write_config: WriteConfig) -> None:
    [line] = refused(write_config, storage=section)
    assert line.startswith(f"{write_config({})}: ") and text in line


def test_a_secret_on_the_command_line_is_not_repeated(write_config: WriteConfig) -> None:
    for override in (f"storage.token=[{KEYS['token']}", f"storage.token.x={KEYS['token']}"):
        [line] = refused(write_config, override)
        assert "storage" in line and "token" in line and KEYS["token"] not in line
    [line] = refused(write_config, "storage.secret_key=12345")
    assert line == "command line: storage: secret_key is given, but access_key is not"
    [line] = refused(write_config, storage={"secret_key": 12345})
    assert line.endswith("secret_key: must be a text (in quotes, if it looks like a number)")


def test_secrets_are_in_no_dump(write_config: WriteConfig) -> None:
    config = load(write_config, storage=KEYS)
    for text in (dump_config(config), repr(config), str(config), config.model_dump_json()):
        assert not any(secret in text for secret in KEYS.values())
    # Nor anything in their place that would be taken for keys when the dump is loaded.
    assert not any(key in dump_config(config) for key in KEYS)
    access = Connection.read("s3", config.storage.variables({}))
    assert (access.key, access.secret, access.token) == tuple(KEYS.values())


@pytest.mark.parametrize("scheme", ["s3", "obs"])
def test_the_configuration_wins_over_the_environment(scheme: str) -> None:
    environment = {
        **{f"{prefix}ACCESS_KEY_ID": "other" for prefix in ("OBS_", "", "AWS_")},
        **{f"{prefix}SECRET_ACCESS_KEY": "other" for prefix in ("OBS_", "", "AWS_")},
        **{f"{prefix}SECURITY_TOKEN": "other" for prefix in ("OBS_", "", "AWS_")},
        **{f"{prefix}SESSION_TOKEN": "other" for prefix in ("OBS_", "", "AWS_")},
        **{f"{prefix}_ENDPOINT": "https://other" for prefix in ("OBS", "S3")},
        **{f"{prefix}_REGION": "other" for prefix in ("OBS", "S3", "AWS")},
        "OBS_ADDRESSING_STYLE": "virtual",
    }
    section = {"endpoint": "https://mine", "region": "here", "addressing_style": "path"}
    config = StorageConfig.model_validate({**section, **KEYS})
    found = Connection.read(scheme, config.variables(environment))
    assert found == Connection("https://mine", "here", "path", *KEYS.values())
    # Keys without a token must not get the token of others.
    keys = {name: KEYS[name] for name in ("access_key", "secret_key")}
    found = Connection.read(scheme, StorageConfig.model_validate(keys).variables(environment))
    assert (found.key, found.token, found.endpoint) == (KEYS["access_key"], None, "https://other")
    assert StorageConfig().variables(environment) == environment


def test_limits_from_variables() -> None:
    environment = {"MTLN_STORAGE_CACHE_SIZE": "2GB", "MTLN_STORAGE_TRIES": "3"}
    assert StorageConfig().resolved({}) == Limits()
    limits = StorageConfig.model_validate({"tries": 9}).resolved(environment)
    assert (limits.cache_size, limits.tries) == (2 * 10**9, 9)
    with pytest.raises(UserError, match=r"environment: MTLN_STORAGE_WAIT must be a number above 0"):
        StorageConfig().resolved({"MTLN_STORAGE_WAIT": "long"})


def test_the_place_of_a_copy() -> None:
    one, other = {"MTLN_STORAGE_CACHE": "/cache", "AWS_ENDPOINT_URL": "http://one"}, {}
    section = StorageConfig()
    place = section.local_copy("s3://bucket/sets/ü m", one)
    assert place.parent == Path("/cache/data") and place.name.startswith("__m-")
    other = {**one, "AWS_ENDPOINT_URL": "http://other"}  # another store has other buckets
    assert section.local_copy("s3://bucket/sets/ü m", other) != place
    assert section.cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/mtln")
    assert StorageConfig(cache=Path("/mine")).cache_folder(one) == Path("/mine")
