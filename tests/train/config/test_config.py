from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.paths import ROOT
from train.config.reader import dump_config, load_config
from train.errors import UserError

SHIPPED = sorted((ROOT / "configs").rglob("*.yaml"))
BASE: dict[str, Any] = {
    "datasets": {"ucm": {"records": "data/ucm"}, "aid": {"records": "data/aid"}},
    "schedule": {"steps": 100},
}


def load(tmp_path: Path, tree: dict[str, Any], *overrides: str) -> Any:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return load_config(path, overrides)


def mistakes(tmp_path: Path, tree: dict[str, Any], *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, tree, *overrides)
    return str(caught.value).replace(str(tmp_path / "job.yaml"), "job.yaml").splitlines()


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, BASE)
    assert config.run_dir == Path("runs/job")
    assert list(config.tasks) == ["ucm", "aid"]
    assert config.dataset_of("aid") == "aid"
    assert config.branches == "local"


def test_a_data_set_that_no_task_names_gets_one(tmp_path: Path) -> None:
    config = load(tmp_path, BASE, "tasks.aid.classes=30")
    assert list(config.tasks) == ["ucm", "aid"]
    assert config.tasks["aid"].classes == 30
    config = load(tmp_path, BASE, "tasks={scenes: {dataset: aid}}")
    assert {task: config.dataset_of(task) for task in config.tasks} == {
        "ucm": "ucm",
        "scenes": "aid",
    }


def test_overrides_replace_and_add(tmp_path: Path) -> None:
    config = load(
        tmp_path, BASE, "schedule.steps=7", "model.width=4", "datasets.nwpu.records=data/n",
        "batch.shares={temperature: 2}", "augment.crop_area=null", "run_dir=/elsewhere",
    )  # fmt: skip
    assert config.schedule.steps == 7
    assert config.model.width == 4
    assert list(config.datasets) == ["ucm", "aid", "nwpu"] == list(config.tasks)
    assert config.batch.shares == {"temperature": 2.0}
    assert config.augment.crop_area is None
    assert config.run_dir == Path("/elsewhere")


def test_dump_loads_again(tmp_path: Path) -> None:
    config = load(tmp_path, BASE, "image.stages=[{until: 0.5, size: 24}]")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config


def test_there_are_shipped_configurations() -> None:
    assert len(SHIPPED) > 5


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    load_config(path)


def test_a_key_of_older_configurations(tmp_path: Path) -> None:
    """Damaged records could be left out once; that a run stops at them may still be said."""
    config = load(tmp_path, BASE, "on_bad_record=stop")
    assert config == load(tmp_path, BASE)
    assert "on_bad_record" not in dump_config(config)
    assert mistakes(tmp_path, BASE, "on_bad_record=skip") == [
        "command line: on_bad_record: must be 'stop', not 'skip'"
    ]
    assert mistakes(tmp_path, {**BASE, "on_bad_record": "skip"}) == [
        "job.yaml: on_bad_record: must be 'stop', not 'skip'"
    ]


def test_unknown_key_names_the_allowed_ones(tmp_path: Path) -> None:
    assert mistakes(tmp_path, {**BASE, "model": {"depht": 16}}) == [
        "job.yaml: model.depht: unknown key: did you mean model.depth? (allowed here: trunk, "
        "depth, width, max_pool, norm, branch, decoder_channels)"
    ]


def test_unknown_key_deep_inside(tmp_path: Path) -> None:
    tree = {**BASE, "tasks": {"ucm": {"clases": 21}, "aid": {}}}
    assert mistakes(tmp_path, tree) == [
        "job.yaml: tasks.ucm.clases: unknown key: did you mean tasks.ucm.classes? (allowed here: "
        "dataset, kind, masks, classes)"
    ]


def test_a_key_with_dots_belongs_on_the_command_line(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, {**BASE, "image.size": 48})
    assert line == (
        "job.yaml: image.size: only the command line has dots in keys: "
        "write image: and below it size:"
    )


def test_every_error_at_once_each_with_its_place(tmp_path: Path) -> None:
    tree = {**BASE, "seed": "one", "schedule": {"warmup": 2}}
    lines = mistakes(tmp_path, tree, "model.width=wide")
    assert len(lines) == 4
    assert lines[0].startswith("job.yaml: seed: ") and "'one'" in lines[0]
    assert lines[1].startswith("command line: model.width: ") and "'wide'" in lines[1]
    assert lines[2] == "job.yaml: schedule.steps: missing"
    assert lines[3].startswith("job.yaml: schedule.warmup: ")
    assert lines[3].endswith("not 2 (Fraction of the steps)")


def test_choices_are_listed(tmp_path: Path) -> None:
    [line] = mistakes(tmp_path, BASE, "model.norm=layer")
    assert "'batch', 'group' or 'domain'" in line and "'layer'" in line


@pytest.mark.parametrize("section", ["datasets", "tasks"])
def test_two_tasks_or_data_sets_of_one_name(tmp_path: Path, section: str) -> None:
    """A YAML reader would silently take the last one."""
    path = tmp_path / "job.yaml"
    path.write_text(f"{section}:\n  ucm: {{}}\n  aid: {{}}\n  ucm: {{}}\n")
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: line 4: 'ucm' is there twice"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks={ucm: {}, aid: {dataset: nwpu}}", "no data set 'nwpu'"),
        ("tasks={ucm: {}, aid: {dataset: ucm}}", "datasets.aid: no task uses it"),
        ("evaluate.every=30", "evaluate.every: 30 is not a multiple of schedule.consolidate_every"),
        ("batch.shares={ucm: 8}", "images per data set (ucm, aid), not for ucm"),
        ("batch.shares={ucm: 8, aid: 2.5}", "batch.shares.aid: must be a whole number"),
        ("batch.shares={temperature: 0}", "must be above 0"),
        ("batch.shares=even", "images per data set, not 'even'"),
        ("datasets={}", "must have at least 1 value(s)"),
        ("model=wide", "must hold keys and values, not 'wide'"),
        ("augment.flips=maybe", "must be true or false, not 'maybe'"),
        ("model.depth=18", "depth must be 10, 16, 22, 28"),
        (
            "model={trunk: resnet18, depth: 34}",
            "depth and width are of wide_resnet, not of resnet18",
        ),
        ("tasks={ucm: {}, aid: {masks: cover}}", "only a task of kind segmentation has them"),
        ("loss.balance.rule=fixed", "must be there for ucm, aid, not for nothing"),
        (
            "loss.balance={rule: fixed, weights: {ucm: 2}}",
            "must be there for ucm, aid, not for ucm",
        ),
        ("loss.balance.weights={ucm: 2, aid: 1}", "loss.balance.weights: are for rule: fixed"),
        ("ema=1", "ema: must be below 1"),
        (
            "precision=half",
            "precision: must be 'auto', 'float32', 'float16' or 'bfloat16', not 'half'",
        ),
        ("reduction.precision=int8", "reduction.precision: must be 'float32', "),
        ("reduction.bucket_mb=-1", "reduction.bucket_mb: must be at least 0.0, not -1"),
        ("image.stages=[{until: 0.5, size: 24}, {until: 0.2, size: 32}]", "growing 'until'"),
        ("optimizer.learning_rate=.nan", "learning_rate"),
        ("datasets.bad name.records=x", "bad name"),
        ("schedule", "must have the form key.sub=value"),
        ("seed.sub=1", "seed.sub"),
    ],
)
def test_mistakes(tmp_path: Path, override: str, message: str) -> None:
    [line] = mistakes(tmp_path, {**BASE, "seed": 3}, override)
    assert message in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("a: [1", "not valid YAML"),
        ("- a\n", "must hold keys and values"),
        (b"\xff\xfe", "cannot be read: not a text file"),
    ],
)
def test_bad_files(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load_config(path)
