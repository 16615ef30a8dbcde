"""Starting the shared branch from files of MindSpore and from checkpoints of runs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from safetensors.numpy import save_file

from tests.train import networks
from tests.train.run import torch_files
from train.errors import UserError
from train.model.backend import Backend
from train.model.mtln import MTLN, DatasetInfo
from train.model.trunks import BasicBlock, ResNet, WideResNet
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
from train.run.foreign_names import with_pytorch_names
from train.run.pretrained import start_from

Values = dict[str, Any]
BLOCKS = (1, 1, 1, 1)

# Otherwise MindSpore starts with a device that tests after these could not set any more.
pytestmark = pytest.mark.usefixtures("graph_mode")


def values_of(cell: nn.Cell) -> Values:
    return {p.name: p.asnumpy().copy() for p in cell.get_parameters()}


def randomise(cell: nn.Cell, seed: int) -> Values:
    """Gives every parameter values of its own; all of them."""
    rng = np.random.default_rng(seed)
    for p in cell.get_parameters():
        p.set_data(Tensor(rng.normal(0, 1, p.shape).astype(np.float32)))
    return values_of(cell)


def network_on(trunk: Any, norm: Any, branch: Any) -> MTLN:
    """With one task and data set; names of others may stand in the trunk's norms."""
    ucm = DatasetInfo("ucm", (0.5,) * 3, (0.2,) * 3)
    return MTLN(trunk, [ucm], [networks.scene("scenes", "ucm", 3)], Backend(norm), branch)


def resnet(norm: Any = "batch", domains: Sequence[str] = ()) -> MTLN:
    return network_on(ResNet(BasicBlock, BLOCKS, Backend(norm), domains), norm, "linear")


def wide() -> MTLN:
    return network_on(WideResNet(10, 1), "batch", "attention")


def count(values: Values) -> int:
    return sum(v.size for v in values.values())


def assert_equal(found: Values, expected: Values) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def write_checkpoint(folder: Path, step: int, model: Values, average: Values | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return save_checkpoint(folder, Checkpoint(step, model, {}, {}, average or {}), keep=9)


def refusal(network: nn.Cell, path: Path) -> str:
    """What is wrong with a path, in one line; the network is as before."""
    before = values_of(network)
    with pytest.raises(UserError) as error:
        start_from(network, path)
    assert_equal(values_of(network), before)
    start, _, what = str(error.value).partition(f"init_from: {path}: ")
    assert start == "" and "\n" not in what
    return what


def test_a_mindspore_file_of_a_trunk(tmp_path: Path) -> None:
    """Weights and statistics go into the trunk bit by bit; what else there is stays as it was."""
    source = ResNet(BasicBlock, BLOCKS)
    given = randomise(source, 1)
    source.classifier = nn.Dense(512, 10)
    path = tmp_path / "resnet.ckpt"
    ms.save_checkpoint(source, str(path), append_dict={"epoch_num": 3, "note": "of ours"})
    network = network_on(ResNet(BasicBlock, BLOCKS), "batch", "attention")
    before = randomise(network, 2)
    line = start_from(network, path)
    taken = {f"shared.trunk.{name}": values for name, values in given.items()}
    assert_equal(values_of(network), {**before, **taken})
    shared = count({k: v for k, v in before.items() if k.startswith("shared.")})
    assert line == (
        f"init_from: {path}: took {count(given):,} of the {shared:,} values of the shared branch "
        "(all of the trunk); not in it: shared.extractors"
    )


def test_a_run_and_its_checkpoints(tmp_path: Path) -> None:
    """A run folder stands for its newest whole checkpoint; the task branches are never taken."""
    saved = {step: randomise(wide(), step) for step in (10, 20, 30)}
    run = tmp_path / "run"
    paths = [write_checkpoint(run / "checkpoints", step, model) for step, model in saved.items()]
    (paths[2] / "model.safetensors").write_bytes(b"damaged")
    for path, step in ((run, 20), (paths[0], 10), (paths[1] / "model.safetensors", 20)):
        network = wide()
        before = randomise(network, 1)
        line = start_from(network, path)
        shared = {k: v for k, v in saved[step].items() if k.startswith("shared.")}
        assert_equal(values_of(network), {**before, **shared})
        source = paths[1] if path == run else path
        size = count(shared)
        taken = f"took {size:,} of the {size:,} values of the shared branch (all of the trunk)"
        assert line == f"init_from: {source}: {taken}"


def test_the_moving_average_where_a_run_has_one(tmp_path: Path) -> None:
    """It is what the run evaluated."""
    model, average = randomise(wide(), 1), randomise(wide(), 2)
    network = wide()
    start_from(network, write_checkpoint(tmp_path, 10, model, average))
    shared = {k: v for k, v in average.items() if k.startswith("shared.")}
    assert_equal({k: v for k, v in values_of(network).items() if k in shared}, shared)


def test_what_has_another_shape_is_left(tmp_path: Path) -> None:
    source, network = wide(), wide()
    given, before = randomise(source, 1), randomise(network, 2)
    conv, norm = "shared.trunk.stages.1.0.conv1.weight", "shared.trunk.final_norm"
    given[conv] = given[conv][:, :3]
    given = {k: v for k, v in given.items() if not k.startswith(norm)}
    save_file(given, tmp_path / "part.safetensors")
    line = start_from(network, tmp_path / "part.safetensors")
    kept = {k: v for k, v in before.items() if k == conv or k.startswith((norm, "tasks."))}
    assert_equal(values_of(network), {**given, **kept})
    assert line.endswith(f"; not in it: {norm}; of another shape: {conv}")


def test_one_norm_for_all_becomes_the_norm_of_every_data_set(tmp_path: Path) -> None:
    given = randomise(resnet(), 1)
    path = write_checkpoint(tmp_path, 10, given)
    network = resnet("domain", ["ucm", "of"])
    before = randomise(network, 2)
    start_from(network, path)
    names = {name: re.sub(r"\.of\.(ucm|of)\.", ".", name) for name in before}
    assert sum(name != own for name, own in names.items()) == 2 * 12 * 4
    expected = {k: given[v] for k, v in names.items() if k.startswith("shared.")}
    assert_equal(values_of(network), {**before, **expected})


def test_a_norm_per_data_set_goes_to_the_data_set_of_its_name(tmp_path: Path) -> None:
    given = randomise(resnet("domain", ["ucm", "aid"]), 1)
    path = write_checkpoint(tmp_path, 10, given)
    network = resnet("domain", ["aid", "nwpu"])
    before = randomise(network, 2)
    line = start_from(network, path)
    taken = {k: v for k, v in given.items() if k in before and k.startswith("shared.")}
    assert "shared.trunk.bn1.of.aid.gamma" in taken
    assert_equal(values_of(network), {**before, **taken})
    new = ", ".join(
        f"shared.trunk.{norm}.of.nwpu"
        for norm in ("bn1", "layer1.0.bn1", "layer1.0.bn2", "layer2.0.bn1")
    )
    assert line.endswith(f"; not in it: {new} and 8 more")


@pytest.mark.parametrize("dtype", [ms.float16, ms.bfloat16, ms.float64])
def test_other_precisions(tmp_path: Path, dtype: Any) -> None:
    network = wide()
    before = randomise(network, 1)
    bias = Tensor(np.arange(16) / 8, dtype)
    path = tmp_path / "other.ckpt"
    ms.save_checkpoint([{"name": "stem.bias", "data": bias}], str(path))
    start_from(network, path)
    expected = (np.arange(16) / 8).astype(np.float32)
    assert_equal(values_of(network), {**before, "shared.trunk.stem.bias": expected})
    dtypes = {p.dtype for p in network.get_parameters()}
    assert dtypes == {ms.float32}


def test_bfloat16_of_other_programs(tmp_path: Path) -> None:
    """In a file with other types, of which numpy knows all but this one."""
    halves = (np.arange(16, dtype="<f4").view("<u4") >> 16).astype("<u2").tobytes()
    header = json.dumps(
        {
            "stem.bias": {"dtype": "BF16", "shape": [16], "data_offsets": [0, 32]},
            "stem.number": {"dtype": "I64", "shape": [1], "data_offsets": [32, 40]},
        }
    ).encode()
    content = len(header).to_bytes(8, "little") + header + halves + bytes(8)
    (tmp_path / "file.safetensors").write_bytes(content)
    network = wide()
    before = randomise(network, 1)
    start_from(network, tmp_path / "file.safetensors")
    expected = {"shared.trunk.stem.bias": np.arange(16, dtype=np.float32)}
    assert_equal(values_of(network), {**before, **expected})


def test_unreadable_sources(tmp_path: Path) -> None:
    network = wide()
    assert refusal(network, tmp_path / "nowhere") == "no such file or folder"
    no_checkpoint = "neither a whole checkpoint nor a run folder that has one"
    assert refusal(network, tmp_path) == no_checkpoint
    damaged = write_checkpoint(tmp_path / "run/checkpoints", 10, randomise(wide(), 1))
    (damaged / "optimizer.safetensors").unlink()
    assert refusal(network, damaged) == no_checkpoint
    assert refusal(network, tmp_path / "run") == no_checkpoint
    other = tmp_path / "weights.pth"
    other.write_bytes(b"PK")
    assert refusal(network, other) == "cannot be read: damaged, or of another format"
    other = tmp_path / "weights.h5"
    other.write_bytes(b"x")
    assert refusal(network, other) == (
        "must be a run folder, a checkpoint, or a .safetensors, .pth, .pt or .ckpt file"
    )


# Names of torchvision's resnet18, copied, beside those of ours.
NAMES = {
    "conv1.weight": "conv1.weight",
    "bn1.weight": "bn1.gamma",
    "bn1.bias": "bn1.beta",
    "bn1.running_mean": "bn1.moving_mean",
    "bn1.running_var": "bn1.moving_variance",
    "layer1.0.conv2.weight": "layer1.0.conv2.weight",
    "layer2.0.downsample.0.weight": "layer2.0.down_sample.0.weight",
    "layer2.0.downsample.1.running_var": "layer2.0.down_sample.1.moving_variance",
    "layer4.0.bn2.bias": "layer4.0.bn2.beta",
}
# In the original SeCo files, a ResNet is a Sequential.
IN_A_SEQUENTIAL = {"conv1": "0", "bn1": "1", **{f"layer{i}": str(i + 3) for i in range(1, 5)}}


def pytorch_state(values: Values, dtype: Any = np.float32) -> Values:
    """All of a trunk's values by PyTorch's names, and what else a network of its has."""
    words = [("down_sample", "downsample"), ("gamma", "weight"), ("beta", "bias")]
    words += [("moving_mean", "running_mean"), ("moving_variance", "running_var")]
    state = {}
    for name, value in values.items():
        for ours, theirs in words:
            name = name.replace(ours, theirs)
        state[name] = value.astype(dtype)
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = np.array(9, "<i8")
    return {**state, "fc.weight": np.ones((5, 512), dtype), "fc.bias": np.ones(5, dtype)}


def trunk_values(seed: int) -> Values:
    return randomise(ResNet(BasicBlock, BLOCKS), seed)


def in_trunk(values: Values) -> Values:
    return {f"shared.trunk.{name}": value for name, value in values.items()}


def test_the_names_of_torchvision() -> None:
    given = trunk_values(1)
    state = with_pytorch_names(given)
    assert state.keys() == pytorch_state(given).keys() - {"fc.weight", "fc.bias"} - {
        name for name in pytorch_state(given) if name.endswith("num_batches_tracked")
    }
    for theirs, ours in NAMES.items():
        np.testing.assert_array_equal(state[theirs], given[ours])


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".pth", "f2"), (".pth", "f4"), (".pth", "f8"), (".safetensors", "f2"), (".ckpt", "f4")],
)
def test_weights_of_pytorch(tmp_path: Path, suffix: str, dtype: str) -> None:
    """Parameters and statistics bit by bit; Lightning calls its files .ckpt."""
    given = trunk_values(1)
    state, path = pytorch_state(given, dtype), tmp_path / f"resnet{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch_files.save(path, state)
    network = resnet()
    before = randomise(network, 2)
    line = start_from(network, path)
    taken = {k: v.astype(dtype).astype(np.float32) for k, v in in_trunk(given).items()}
    assert_equal(values_of(network), {**before, **taken})
    size = count(taken)
    assert line == (
        f"init_from: {path}: took {size:,} of the {size:,} values of the shared branch "
        "(all of the trunk); PyTorch's max-pool pads on all sides, as with "
        "model.max_pool=symmetric"
    )


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    given = trunk_values(1)
    next(v for k, v in given.items() if k.startswith("layer1"))[:] = np.nan
    torch_files.save(tmp_path / "resnet.pth", pytorch_state(given, "f4"))
    network = resnet()
    before = randomise(network, 2)
    with pytest.raises(UserError, match=r"holds numbers that are not finite, for shared.trunk.lay"):
        start_from(network, tmp_path / "resnet.pth")
    assert_equal(values_of(network), before)


def test_a_file_of_another_network(tmp_path: Path) -> None:
    """Some of it fits, and it is said that this cannot be meant."""
    given = {k: v for k, v in trunk_values(1).items() if k.startswith(("conv1", "bn1", "layer1"))}
    torch_files.save(tmp_path / "resnet.pth", pytorch_state(given, "f4"))
    line = start_from(resnet(), tmp_path / "resnet.pth")
    whole = count(trunk_values(1))
    assert f"({count(given):,} of {whole:,} of the trunk); less than half of the" in line


def with_prefix(prefix: str, values: Values) -> Values:
    return {f"{prefix}{name}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("wrap", "part"),
    [
        (lambda own, other: {"epoch": 3, "state_dict": own}, "state_dict."),
        (lambda own, other: {"model": with_prefix("module.", own)}, "model.module."),
        (lambda own, other: with_prefix("backbone.resnet.", own), "backbone.resnet."),
        (
            lambda own, other: {
                "state_dict": with_prefix("module.encoder_k.", other)
                | with_prefix("module.encoder_q.", own),
                "arch": "resnet18",
            },
            "state_dict.module.encoder_q.",
        ),
        (
            lambda own, other: {
                "student": with_prefix("backbone.", other),
                "teacher": with_prefix("backbone.", own),
            },
            "teacher.backbone.",
        ),
        (lambda own, other: {"state_dict": other, "state_dict_ema": own}, "state_dict_ema."),
        (
            lambda own, other: {
                "state_dict": {
                    f"encoder_q.{IN_A_SEQUENTIAL.get(first, first)}.{rest}": own[f"{first}.{rest}"]
                    for first, _, rest in (name.partition(".") for name in own)
                    if first != "fc"
                }
            },
            "state_dict.encoder_q.",
        ),
    ],
    ids=["nested", "parallel", "satlas", "moco", "dino", "timm", "seco"],
)
def test_where_pytorch_keeps_a_network(tmp_path: Path, wrap: Any, part: str) -> None:
    given, path = trunk_values(1), tmp_path / "file.pth"
    torch_files.save(path, wrap(pytorch_state(given), pytorch_state(trunk_values(3))))
    network = resnet()
    before = randomise(network, 2)
    line = start_from(network, path)
    assert_equal(values_of(network), {**before, **in_trunk(given)})
    assert f"; from {part}* in it; " in line


def test_a_first_convolution_of_other_channels(tmp_path: Path) -> None:
    """Of a network for 13 bands, all is taken but that."""
    given = trunk_values(1)
    state = pytorch_state(given)
    state["conv1.weight"] = np.ones((64, 13, 7, 7), np.float32)
    torch_files.save(tmp_path / "file.pt", state)
    trunk = ResNet(BasicBlock, BLOCKS, symmetric=True)
    network = network_on(trunk, "batch", "linear")
    before = randomise(network, 2)
    line = start_from(network, tmp_path / "file.pt")
    taken = {k: v for k, v in in_trunk(given).items() if k != "shared.trunk.conv1.weight"}
    assert_equal(values_of(network), {**before, **taken})
    assert line.endswith("; of another shape: shared.trunk.conv1")


def test_weights_of_pytorch_for_norms_per_data_set(tmp_path: Path) -> None:
    given = trunk_values(1)
    torch_files.save(tmp_path / "file.pth", pytorch_state(given))
    network = resnet("domain", ["ucm", "of"])
    before = randomise(network, 2)
    start_from(network, tmp_path / "file.pth")
    names = {name: re.sub(r"\.of\.(ucm|of)\.", ".", name) for name in before}
    expected = {k: in_trunk(given)[v] for k, v in names.items() if k.startswith("shared.")}
    assert_equal(values_of(network), {**before, **expected})


def test_a_program_in_the_place_of_weights(tmp_path: Path) -> None:
    """Named, not run, and the network is as before."""
    bomb = torch_files.call(torch_files.name("posix", "mkdir"), str(tmp_path / "made"))
    torch_files.save(tmp_path / "file.pth", {**pytorch_state(trunk_values(1)), "args": bomb})
    assert refusal(resnet(), tmp_path / "file.pth").startswith("refused: it names posix.mkdir, ")
    assert not (tmp_path / "made").exists()


def test_a_damaged_storage(tmp_path: Path) -> None:
    """Which shows only when it is read: nothing has been taken by then."""
    given = trunk_values(1)
    path = tmp_path / "file.pth"
    torch_files.save(path, pytorch_state(given))
    content, values = path.read_bytes(), given["layer4.0.bn2.beta"].tobytes()
    path.write_bytes(content.replace(values, bytes(len(values))))
    assert refusal(resnet(), path) == "cannot be read: damaged, or of another format"


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "folder"])
def test_damaged_files(tmp_path: Path, suffix: str, damage: str) -> None:
    network = wide()
    path = tmp_path / f"file{suffix}"
    ms.save_checkpoint(network, str(path), format=suffix[1:])
    content = path.read_bytes()
    contents = {"empty": b"", "text": b"weights " * 9, "truncated": content[: len(content) // 2]}
    if damage == "folder":
        path.unlink()
        path.mkdir()
        assert refusal(network, path).startswith("neither a whole checkpoint")
    else:
        path.write_bytes(contents[damage])
        assert refusal(network, path) == "cannot be read: damaged, or of another format"


def test_nothing_fits(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"fc.weight": np.zeros((2, 3), np.float32)}, path)
    assert refusal(wide(), path) == (
        "nothing in it fits: it has shared.trunk.fc.weight; the shared branch has "
        "shared.trunk.stem.weight, shared.trunk.stem.bias, "
        "shared.trunk.stages.0.0.norm1.moving_mean, "
        "shared.trunk.stages.0.0.norm1.moving_variance and 68 more"
    )
    save_file({"stem.weight": np.zeros((8, 3, 3, 3), np.float32)}, path)
    assert refusal(wide(), path) == (
        "nothing in it fits: shared.trunk.stem.weight is (8, 3, 3, 3) there and (16, 3, 3, 3) here"
    )
