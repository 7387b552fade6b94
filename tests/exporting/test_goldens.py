"""What each recipe of the export shelf exports to, held against `export/goldens/<recipe>.graph.json`.

    WRITE_GOLDENS=1 pytest tests/export/test_goldens.py      writes them anew; look at the difference

Networks are exported with few channels: operators, names, geometry, input and output are the same.
"""

from __future__ import annotations

import json
import os

import pytest
from onnx import helper

from fcn_edge.registry import shelf_folder, shelf_names

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to export")

from fcn_edge.data import class_set  # noqa: E402
from fcn_edge.exporting.trace import model_from_checkpoint  # noqa: E402 - needs torch
from fcn_edge.models.checkpoint import Checkpoint, header_from_recipe  # noqa: E402
from tests.recipes import narrow_recipe, random_network  # noqa: E402


def exported_graph(name):
    recipe = narrow_recipe(name)
    header = header_from_recipe(recipe, *class_set(recipe.network.classes))
    return model_from_checkpoint(Checkpoint(random_network(recipe), header, "0" * 64), None, "scores", dynamic=False)[0]


def described(model):
    """JSON of a graph without its weights: one line a node, so that a difference can be read."""
    return {
        "opset": model.opset_import[0].version,
        "ir_version": model.ir_version,
        "input": _value(model.graph.input[0]),
        "output": _value(model.graph.output[0]),
        "nodes": [" ".join([node.op_type, node.name, *map(_attribute, node.attribute)]) for node in model.graph.node],
    }


def _value(value):
    tensor = value.type.tensor_type
    shape = "x".join(str(dim.dim_value or dim.dim_param) for dim in tensor.shape.dim)
    return f"{value.name} {helper.tensor_dtype_to_np_dtype(tensor.elem_type)} {shape}"


def _attribute(attribute):
    value = helper.get_attribute_value(attribute)
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return f"{attribute.name}={text.decode() if isinstance(text, bytes) else text}"


@pytest.mark.slow
@pytest.mark.parametrize("name", shelf_names("export"))
def test_recipe_exports_to_its_golden_graph(name):
    found = described(exported_graph(name))
    path = shelf_folder("export") / "goldens" / f"{name}.graph.json"
    if os.environ.get("WRITE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    assert found == json.loads(path.read_text(encoding="utf-8"))


def test_every_golden_has_its_recipe():
    names = {path.name.removesuffix(".graph.json") for path in (shelf_folder("export") / "goldens").iterdir()}
    assert names == set(shelf_names("export"))
