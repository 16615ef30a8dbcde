"""The plain part of YAML that configurations are written in."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from train.config.yaml_text import dump_yaml, read_value, read_yaml
from train.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("0", 0), ("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e-3", 0.001),
        ("2E5", 200000.0), ("true", True), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("no", "no"), ("2024-01-01", "2024-01-01"), ("'010'", "010"),
        ('"1:30"', "1:30"), ("10.0.0.1:9000", "10.0.0.1:9000"), ("1.2.3", "1.2.3"),
        ("{a: [1, b]}", {"a": [1, "b"]}),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    found = read_value(text, "x")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    ["010", "-007", "00", "08", "0x1F", "0o17", "0b11", "1_000", "1:30", "12:30:45", "1_0.5"],
)
def test_what_readers_understand_differently_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"^x: {text} is ambiguous"):
        read_value(text, "x")


def test_merge_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "a: &a {every: 2, keep: 1}\nb: {<<: *a, keep: 3}\nc: &c {<<: *a}\nd: {<<: [*c, {x: 1}]}\n"
    )
    tree = read_yaml(path)
    assert tree["b"] == {"every": 2, "keep": 3}
    assert tree["d"] == {"every": 2, "keep": 1, "x": 1}


# Each would take long, much memory, or pages of a message.
HOSTILE = {
    "nested": "[" * 50_000,
    "nested in lines": "".join(" " * depth + "a:\n" for depth in range(1000)),
    "aliases of aliases": "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
    "merged aliases": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9)),
    "itself": "a: &a [*a]",
    "digits": f"a: {'9' * 4000}",
    "digits of a fraction": f"a: 0.{'9' * 4000}",
    "digits of a tag": f'a: !!int "{"9" * 4000}"',
    "digits with underscores": f"a: 1_{'0' * 4000}",
    "base 60": f"a: 1{':59' * 4000}",
    "python": "a: !!python/object/apply:os.system ['true']",
    "large": f"a: {'x' * 1_000_001}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_end_in_one_short_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml: ") as caught:
        read_yaml(path)
    line = str(caught.value).replace(str(tmp_path), "")
    assert "\n" not in line and len(line) < 100


@given(
    st.one_of(
        st.text(st.sampled_from("0123456789_:.xobeE+-~ {}[]#'\"%ntrue"), max_size=8),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
    )
)
@example("0o17")
@example("089")
@example("1e3")
def test_what_is_written_is_read_again(tmp_path_factory: Any, value: Any) -> None:
    """So that a run can be started again from the config.yaml of its folder, whatever its names."""
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(dump_yaml({"a": value, "b": [value]}))
    assert read_yaml(path) == {"a": value, "b": [value]}
