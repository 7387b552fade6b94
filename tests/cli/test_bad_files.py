"""Files and folders that are not what they have to be: one sentence, the right code, nothing left behind."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

MODEL_VERBS = {
    "run": ("--source", "{video}", "--sink", "null:"),
    "evaluate": ("--data", "folder:{pairs}"),
    "bench": ("--data", "folder:{pairs}", "--out", "{out}"),
    "build-engine": ("--out", "{out}"),
    "calibrate": ("--calib", "{pairs}", "--out", "{out}.onnx"),
    "export": ("--out", "{out}.onnx"),
}


@pytest.fixture
def words_for(video, pairs, tmp_path):
    """The rest of a command line that runs `verb`."""
    places = {"video": str(video), "pairs": str(pairs), "out": str(tmp_path / "made")}
    return lambda verb: [word.format_map(places) for word in MODEL_VERBS[verb]]


@pytest.fixture
def leaves_nothing(tmp_path):
    """After the test nothing that a command could have made is there, under no name."""
    yield
    assert [path.name for path in tmp_path.iterdir() if "made" in path.name] == []


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("verb", MODEL_VERBS)
class TestModel:
    @pytest.mark.slow
    def test_missing_file(self, command, words_for, tmp_path, verb):
        command(verb, tmp_path / "none.onnx", *words_for(verb)).refuses(2, "none.onnx")

    def test_text_with_an_onnx_name(self, command, words_for, text_file, verb):
        command(verb, text_file("text.onnx"), *words_for(verb)).refuses(2, "text.onnx", "ONNX")

    def test_empty_file(self, command, words_for, text_file, verb):
        path = text_file("empty.onnx", "")
        command(verb, path, *words_for(verb)).refuses(2, "empty.onnx", "empty")

    def test_network_of_two_inputs(self, command, words_for, two_inputs, spec_file, verb):
        done = command(verb, two_inputs, "--spec", spec_file("camvid"), *words_for(verb))
        done.refuses(2, "two.onnx", 2, "left", "right")

    def test_network_made_elsewhere_without_a_spec(self, command, words_for, foreign_file, verb):
        command(verb, foreign_file, *words_for(verb)).refuses(2, "foreign.onnx", "--spec")

    def test_spec_with_more_classes_than_the_network(self, command, words_for, foreign_file, spec_file, verb):
        done = command(verb, foreign_file, "--spec", spec_file("voc"), *words_for(verb), "--json")
        done.refuses(2, "foreign.onnx", 21, "[1, 11, 32, 48]")
        assert done.json["exit_code"] == 2

    def test_spec_with_an_unknown_key(self, command, words_for, foreign_file, text_file, verb):
        spec = text_file("own.toml", 'class_set = "camvid"\nmeans = [1.0, 2.0, 3.0]\n')
        done = command(verb, foreign_file, "--spec", spec, *words_for(verb))
        done.refuses(2, "own.toml", "means", "mean")

    def test_spec_of_a_file_that_has_its_own(self, command, words_for, onnx_file, spec_file, verb):
        done = command(verb, onnx_file, "--spec", spec_file("camvid"), *words_for(verb))
        done.refuses(2, "tiny.onnx", "--spec")


@pytest.mark.parametrize("verb", ["run", "evaluate", "bench", "build-engine"])
def test_without_a_model_and_without_the_packaged_one(command, words_for, monkeypatch, tmp_path, verb):
    monkeypatch.setattr("fcn_edge.registry.PACKAGE", tmp_path / "installed" / "fcn_edge")
    command(verb, *words_for(verb)).refuses(2, "packaged")


def test_spec_beside_a_checkpoint_is_not_passed_over(command, checkpoint_file, spec_file, video, tmp_path):
    spec = spec_file("camvid")
    done = command("run", checkpoint_file, "--spec", spec, "--source", video, "--sink", "null:")
    done.refuses(2, "tiny.safetensors", "--spec")
    command("export", checkpoint_file, "--spec", spec, "--out", tmp_path / "x.onnx").refuses(
        2, "tiny.safetensors", "--spec"
    )


def test_recipe_beside_an_onnx_file_is_not_passed_over(command, onnx_file, video):
    done = command("run", onnx_file, "--recipe", "fcn4s_lite0_camvid", "--source", video, "--sink", "null:")
    done.refuses(2, "tiny.onnx", "--recipe")


class TouchesAFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_pickle_with_code_in_it_is_not_run(command, tmp_path, how):
    torch = pytest.importorskip("torch", reason="torch is not installed: no pickle was offered to it")
    path, proof = tmp_path / "net.pth", tmp_path / "proof"
    if how == "torch":
        torch.save({"weight": TouchesAFile(proof)}, path)
    else:
        path.write_bytes(pickle.dumps(TouchesAFile(proof)))
    done = command("export", path, "--recipe", "fcn4s_lite0_camvid", "--out", tmp_path / "net.onnx")
    done.refuses(2, "net.pth", "pickle")
    assert done.err.count("\n") == 1  # nor does torch itself add a word
    assert not proof.exists() and not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize(
    ("data", "facts"),
    [
        ("camvids:x", ["camvids:x", "KIND:PATH#SPLIT", "camvid"]),
        ("folder", ["KIND:PATH#SPLIT"]),
        ("folder:/nowhere", ["folder:/nowhere"]),
        ("camvid:", ["camvid:DIR#SPLIT"]),
        ("synthetic:street,sed=1", ["sed", "seed"]),
        ("synthetic:street,seed=one", ["seed", "one"]),
    ],
)
def test_wrong_data_set_is_told(command, onnx_file, data, facts):
    command("evaluate", onnx_file, "--data", data).refuses(2, *facts)


@pytest.mark.parametrize(
    ("uri", "facts"),
    [
        ("masks", ["masks", "FOLDER/"]),
        ("rtmp://host/live", ["rtmp://host/live"]),
        ("{text}/out.mp4", ["notes.txt"]),
        ("{text}/masks/", ["masks"]),
        ("/proc/out.mp4", ["/proc"]),
        ("{video}", ["noise.mp4"]),
    ],
)
def test_wrong_sink_is_told(command, onnx_file, video, text_file, uri, facts):
    sink = uri.format(text=text_file("notes.txt"), video=video)
    command("run", onnx_file, "--source", video, "--sink", sink).refuses(2, *facts)


def test_sinks_before_a_wrong_one_leave_nothing(command, onnx_file, video, tmp_path):
    masks = tmp_path / "masks"
    command("run", onnx_file, "--source", video, "--sink", f"{masks}/", "--sink", "wrong").refuses(2, "wrong")
    assert not masks.exists()


def test_window_without_a_screen_exits_3(command, onnx_file, video, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    command("run", onnx_file, "--source", video).refuses(3, "DISPLAY", "out.mp4")


@pytest.mark.parametrize(
    ("name", "facts"),
    [("none.mp4", []), ("words.mp4", ["video"]), ("empty.mp4", ["empty"])],
)
def test_source_that_is_no_video_is_told(command, onnx_file, text_file, tmp_path, name, facts):
    text_file("words.mp4")
    text_file("empty.mp4", "")
    done = command("run", onnx_file, "--source", tmp_path / name, "--sink", tmp_path / "out.mp4")
    done.refuses(2, name, *facts)
    assert not (tmp_path / "out.mp4").exists()


def test_calibration_video_that_is_none_is_told_without_the_vendors_words(command, onnx_file, text_file, tmp_path):
    done = command("calibrate", onnx_file, "--calib", text_file("words.mp4"), "--out", tmp_path / "x.onnx")
    done.refuses(2, "words.mp4", "video")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["run", "evaluate", "bench"])
def test_onnx_file_on_pytorch_is_told(command, onnx_file, words_for, verb):
    done = command(verb, onnx_file, "--target", "pytorch", *words_for(verb))
    done.refuses(2, "tiny.onnx", "PyTorch", "openvino", "onnxruntime")


@pytest.mark.parametrize("verb", ["run", "evaluate", "build-engine"])
def test_target_that_is_not_installed_exits_3(command, onnx_file, words_for, monkeypatch, verb):
    monkeypatch.setattr("fcn_edge.engines.find_spec", lambda name: None)
    target = "onnxruntime" if verb != "build-engine" else "openvino"
    done = command(verb, onnx_file, "--target", target, *words_for(verb), "--json")
    done.refuses(3, target, "fcn-edge[cpu]")
    assert done.json["exit_code"] == 3
