"""Checkpoints explain themselves, execute nothing, and refuse what is not theirs."""

from __future__ import annotations

import json
import os
import pickle
import random
import stat

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no checkpoint to test with")

from safetensors import safe_open  # noqa: E402 - needs torch
from safetensors.torch import load_file, save_file  # noqa: E402

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.checkpoint import (  # noqa: E402
    NETWORK_KEY,
    checkpoint_from_file,
    save_checkpoint,
    spec_from_header,
)
from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe  # noqa: E402
from tests.refusals import refused  # noqa: E402

RECIPE = Recipe(
    "lite0",
    NetworkRecipe("efficientnet_lite0", "camvid"),
    InputRecipe(64, 96, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
)
GARBAGE = 300  # random files; one in ten makes PyTorch's unpickler stumble in a way of its own


@pytest.fixture(scope="module")
def state(checkpoint_file):
    return load_file(str(checkpoint_file))


@pytest.fixture(scope="module")
def header(checkpoint_file):
    with safe_open(str(checkpoint_file), "pt") as file:
        return json.loads(file.metadata()[NETWORK_KEY])


@pytest.fixture
def write_checkpoint(tmp_path, state, header):
    """Writes a .safetensors file with changed tensors (None removes one) or header entries."""

    def write(tensors=None, text=None, **entries):
        kept = {name: value for name, value in (state | (tensors or {})).items() if value is not None}
        metadata = {NETWORK_KEY: json.dumps(header | entries) if text is None else text}
        save_file(kept, str(tmp_path / "a.safetensors"), metadata)
        return tmp_path / "a.safetensors"

    return write


def test_checkpoint_survives_its_file(tmp_path, checkpoint_file):
    first = checkpoint_from_file(checkpoint_file)
    save_checkpoint(tmp_path / "again.safetensors", first.network, first.header)
    again = checkpoint_from_file(tmp_path / "again.safetensors")
    assert again.header == first.header and again.sha256 == first.sha256
    for name, value in first.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name
    assert not again.network.training


def test_checkpoint_may_be_read_by_whoever_may_read_the_folder(tmp_path, checkpoint_file):
    (tmp_path / "plain").touch()
    loaded = checkpoint_from_file(checkpoint_file)
    save_checkpoint(tmp_path / "a.safetensors", loaded.network, loaded.header)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.safetensors")]
    assert modes[0] == modes[1]


def test_spec_says_what_the_header_says(checkpoint_file):
    loaded = checkpoint_from_file(checkpoint_file)
    spec = spec_from_header(loaded.header, loaded.network, loaded.sha256)
    assert spec.preprocess.size == (64, 96) and spec.num_classes == 11 and spec.ignore_index == 11
    assert spec.head.kind == "scores" and spec.head.sampling.size == (64, 96)
    assert spec.weights_sha256 == loaded.sha256 and spec.weights_terms == loaded.header.weights_terms


class RunsCode:
    """What a hostile pickle holds."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path, suffix, writer):
    path, proof = tmp_path / f"a{suffix}", tmp_path / "executed"
    content = {"weight": torch.zeros(1), "hook": RunsCode(proof)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with refused(BadInput, f"a{suffix}", "pickle"):
        checkpoint_from_file(path, RECIPE)
    assert not proof.exists()
    torch.load(str(path), weights_only=False) if writer == "torch" else pickle.loads(path.read_bytes())
    assert proof.exists(), "the pickle was harmless: the test proves nothing"


def test_whole_module_in_a_pickle_says_how_to_save_it(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with refused(BadInput, "a.pth", "torch.save(model.state_dict()"):
        checkpoint_from_file(tmp_path / "a.pth", RECIPE)


def test_garbage_is_refused_in_one_way(tmp_path):
    path, numbers = tmp_path / "a.pth", random.Random(1)
    for _ in range(GARBAGE):
        path.write_bytes(numbers.choice([b"", b"\x80\x02"]) + numbers.randbytes(numbers.randint(1, 40)))
        with pytest.raises(BadInput):
            checkpoint_from_file(path, RECIPE)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(("share", "facts"), [(0.0, ("empty",)), (0.001, ()), (0.5, ()), (0.999, ())])
def test_truncated_file_is_refused(tmp_path, checkpoint_file, state, suffix, share, facts):
    path = tmp_path / f"a{suffix}"
    torch.save(state, path)
    whole = checkpoint_file.read_bytes() if suffix == ".safetensors" else path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with refused(BadInput, f"a{suffix}", *facts):
        checkpoint_from_file(path, RECIPE)


@pytest.mark.parametrize("wrapped", [False, True])
def test_plain_state_dict_is_read_with_a_recipe(tmp_path, state, wrapped):
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "a.pth")
    loaded = checkpoint_from_file(tmp_path / "a.pth", RECIPE)
    assert loaded.header.name == "lite0" and len(loaded.header.classes) == 11
    assert torch.equal(loaded.network.score_fr.weight, state["score_fr.weight"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_state_dict_without_recipe_is_refused(tmp_path, state, suffix):
    path = tmp_path / f"a{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, str(path))
    with refused(BadInput, path, "recipe"):
        checkpoint_from_file(path)


def test_recipe_of_unknown_classes_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    recipe = Recipe("mine", NetworkRecipe("efficientnet_lite0", "camvit"), RECIPE.input)
    with refused(BadInput, "mine", "camvit", "camvid"):
        checkpoint_from_file(tmp_path / "a.pth", recipe)


@pytest.mark.parametrize(
    "content", [[1, 2], {"a": 1}, torch.zeros(3), {"state_dict": {"a": "b"}}], ids=["list", "number", "tensor", "text"]
)
def test_what_is_no_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with refused(BadInput, "a.pth", "state dict"):
        checkpoint_from_file(tmp_path / "a.pth", RECIPE)


@pytest.mark.parametrize(
    ("tensors", "facts"),
    [
        ({"score_fr.weight": None}, ("1 missing", "score_fr.weight")),
        ({"extra.weight": torch.zeros(1)}, ("1 unknown", "extra.weight")),
        ({f"extra{n}": torch.zeros(1) for n in range(5)}, ("5 unknown", "extra0, extra1, extra2, …")),
        ({"score_fr.bias": torch.zeros(12)}, ("score_fr.bias", 12, 11)),
        (
            {"score_fr.weight": None, "score_fr.bias": torch.zeros(()), "extra": torch.zeros(1)},
            ("1 missing", "score_fr.weight", "1 unknown", "extra", "score_fr.bias", 11),
        ),
    ],
    ids=["missing", "unknown", "many", "shape", "all"],
)
def test_weights_of_another_network_are_named(write_checkpoint, tensors, facts):
    with refused(BadInput, "a.safetensors", *facts):
        checkpoint_from_file(write_checkpoint(tensors))


@pytest.mark.parametrize(
    ("entries", "facts"),
    [
        ({"nmae": "x"}, ("header", "nmae", "name")),
        ({"text": "{"}, ("header", "JSON")),
        ({"text": "[1]"}, ("header", "list")),
        ({"network": {"backbone": "vgg13", "classes": "camvid"}}, ("header", "vgg13", "vgg16")),
        ({"network": {"backbone": "resnet18", "classes": "camvid"}}, ("100 missing", "294 unknown")),
    ],
    ids=["key", "broken", "list", "backbone", "other backbone"],
)
def test_header_that_does_not_fit_is_named(write_checkpoint, entries, facts):
    with refused(BadInput, "a.safetensors", *facts):
        checkpoint_from_file(write_checkpoint(**entries))
