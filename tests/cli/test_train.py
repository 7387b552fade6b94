"""`fcn-edge train`: what people and programs read of a run, and what ends it."""

from __future__ import annotations

import pytest

from tests.refusals import assert_names

pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

RECIPE = """
[network]
backbone = "efficientnet_lite0"
classes = "camvid"
[input]
height = 64
width = 96
mean = [127.0, 127.0, 127.0]
std = [128.0, 128.0, 128.0]
[train]
epochs = 1
batch = 2
crop = [64, 96]
"""
SETS = ["--data", "synthetic:street,seed=5,images=2,size=64x96", "--val", "synthetic:street,seed=6,images=1,size=64x96"]


@pytest.fixture
def recipe(text_file):
    return text_file("own.toml", RECIPE)


@pytest.mark.slow
def test_run_is_told_and_so_is_that_nothing_is_left(command, recipe, tmp_path):
    out = tmp_path / "net.safetensors"
    done = command("train", recipe, *SETS, "--out", out)
    assert done.code == 0 and "1/1" in done.err
    assert_names(done.out, out, "mIoU")
    again = command("train", recipe, *SETS, "--out", out)
    assert_names(again.out, "1 epochs")
    assert "1/1" not in again.err
    found = command("train", recipe, *SETS, "--out", out, "--json").json
    assert set(found) == {"checkpoint", "best_miou", "epochs", "resumed_after"}
    assert (found["epochs"], found["resumed_after"]) == (1, 1)
    command("train", recipe, *SETS, "--out", out, "--epochs", 2).refuses(2, "net.safetensors.state", "recipe")


@pytest.mark.slow
def test_run_that_was_killed_says_where_it_goes_on(command, recipe, tmp_path, monkeypatch):
    from fcn_edge.training import fine_tuning

    real = fine_tuning.validation_miou
    calls = []

    def killed_in_the_second_epoch(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(fine_tuning, "validation_miou", killed_in_the_second_epoch)
    words = ["train", recipe, *SETS, "--out", tmp_path / "net.safetensors", "--epochs", 2]
    command(*words).refuses(130, "interrupted")
    done = command(*words)
    assert done.code == 0
    assert_names(done.out, "epoch 1", 2)


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["{recipe}", "--out", "net.onnx"], ("net.onnx", ".safetensors")),
        (["fcn4s_lite0_camvit", "--out", "net.safetensors"], ("fcn4s_lite0_camvit", "fcn4s_lite0_camvid")),
        (["none.toml", "--out", "net.safetensors"], ("none.toml",)),
        (
            ["{misspelt}", "--out", "net.safetensors"],
            ("misspelt.toml", "learning_rat", "learning_rate"),
        ),
        (["{recipe}", "--out", "net.safetensors", "--backbone", "{misspelt}"], ("misspelt.toml", "pickle")),
        (["{recipe}", "--out", "{recipe}/net.safetensors"], ("own.toml",)),
        (["{recipe}", "--out", "net.safetensors", "--supplement", "camvids:x"], ("camvids:x", "camvid")),
    ],
)
def test_wrong_words_are_told(command, recipe, text_file, tmp_path, monkeypatch, words, facts):
    monkeypatch.chdir(tmp_path)
    misspelt = text_file("misspelt.toml", RECIPE + "learning_rat = 1.0\n")
    done = command("train", *(word.format(recipe=recipe, misspelt=misspelt) for word in words), *SETS)
    done.refuses(2, *facts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["misspelt.toml", "own.toml"]
