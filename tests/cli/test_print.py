"""Messages of the library name arguments; the command line prints its own options in their place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fcn_edge.cli._print import use_option_names, with_option_names
from fcn_edge.errors import BadInput

BUILD_ENGINE = (
    SimpleNamespace(name="model", opts=["model"], param_type_name="argument"),
    SimpleNamespace(name="max_miou_drop", opts=["--max-miou-drop"], param_type_name="option"),
    SimpleNamespace(name="workspace_mb", opts=["--workspace"], param_type_name="option"),
    SimpleNamespace(name="target", opts=["--target"], param_type_name="option"),
    SimpleNamespace(name="allow_overlap", opts=["--allow-overlap"], param_type_name="option"),
)


@pytest.fixture(autouse=True)
def build_engine_options():
    use_option_names(BUILD_ENGINE)
    yield
    use_option_names(())


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("`max_miou_drop` needs images", "--max-miou-drop needs images"),
        ("`workspace_mb`: too few", "--workspace: too few"),
        ("`workspace`: too few", "--workspace: too few"),
        ("`model` is no file", "MODEL is no file"),
        ('pass `target="tensorrt-rtx"`', "pass --target tensorrt-rtx"),
        ("pass `target='openvino'` or `max_miou_drop=0.5`", "pass --target openvino or --max-miou-drop 0.5"),
        ("pass `allow_overlap=True`", "pass --allow-overlap"),
    ],
)
def test_argument_is_printed_as_the_option_of_the_verb(message, printed):
    assert with_option_names(message) == printed


@pytest.mark.parametrize(
    ("call", "command"),
    [
        (
            "build_engine('a b.onnx', 'out', target='tensorrt')",
            "fcn-edge build-engine 'a b.onnx' --out out --target tensorrt",
        ),
        ("open_engine('/a/n.onnx', target='openvino')", "fcn-edge run /a/n.onnx --target openvino"),
    ],
)
def test_call_is_printed_as_the_command_line_that_does_the_same(call, command):
    assert with_option_names(f"rebuild: `{call}`") == f"rebuild: {command}"


@pytest.mark.parametrize("call", ["torch.save(model.state_dict(), …)", "build_engine(model)", "save('a')", "f(", "f()"])
def test_other_calls_stay(call):
    assert with_option_names(f"`{call}`") == f"`{call}`"


@pytest.mark.parametrize("text", ["`data` is no option here", "see `fcn-edge models`", "a`b", "`target`s`", "``"])
def test_other_backticks_stay(text):
    assert with_option_names(text) == text.replace("`target`", "--target")


def test_error_of_the_library_names_the_option_of_the_verb_that_runs(command, monkeypatch):
    def refuse(out, **options):
        raise BadInput("`source` and `out` overlap; `data` is none of this verb's")

    monkeypatch.setattr("fcn_edge.demo.run_demo", refuse)
    done = command("demo", "--json")
    done.refuses(2, "--source", "--out", "`data`")
    assert done.json["code"] == "bad-input"


def test_sentences_of_the_library_on_stdout_name_options_too(capsys):
    from fcn_edge.cli._print import show

    show("not measured: `max_miou_drop` was not given")
    assert capsys.readouterr().out == "not measured: --max-miou-drop was not given\n"


def test_option_names_of_one_verb_do_not_reach_the_next(command, monkeypatch):
    def refuse():
        raise BadInput("`source` is unknown")

    monkeypatch.setattr("fcn_edge.diagnosis.diagnose", refuse)
    command("demo", "--source", "missing.mp4")
    command("doctor").refuses(2, "`source`")
