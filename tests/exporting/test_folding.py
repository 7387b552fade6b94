"""Fixed bilinear upsamples at the end of foreign graphs are left out in all their guises, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import open_engine
from fcn_edge.exporting import onnx_model
from fcn_edge.exporting.folding import fold_head
from fcn_edge.geometry import Axis
from fcn_edge.onnxfile import contract_from_onnx

CLASSES, CELLS, STEP = 4, (6, 9), 8
SIZE = (CELLS[0] * STEP, CELLS[1] * STEP)
SPEC = 'classes = ["a", "b", "c", "d"]\n'


def triangle(step, size=None):
    size = size or 2 * step
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / step


def kernel(step, size=None):
    return np.outer(triangle(step, size), triangle(step, size)).astype(np.float32)


class Graph:
    """A convolution of stride `step` that scores the picture, and whatever is put behind it."""

    def __init__(self, size=SIZE, step=STEP):
        random = np.random.default_rng(0)
        self.size, self.count = size, 0
        self.weights, self.nodes = [], []
        weight = self.constant(random.standard_normal((CLASSES, 3, step, step)).astype(np.float32))
        self.last = "image"
        self.then("Conv", weight, strides=[step, step])

    def constant(self, value):
        self.weights.append(numpy_helper.from_array(value, f"constant{len(self.weights)}"))
        return self.weights[-1].name

    def then(self, op, *inputs, **attributes):
        self.count += 1
        self.nodes.append(
            helper.make_node(op, [self.last, *inputs], [f"t{self.count}"], f"n{self.count}", **attributes)
        )
        self.last = f"t{self.count}"
        return self

    def resize(self, *, scales=None, sizes=None, mode="linear", **attributes):
        chosen = self.constant(np.array(scales, np.float32)) if scales else ""
        more = [self.constant(np.array(sizes, np.int64))] if sizes else []
        return self.then("Resize", "", chosen, *more, mode=mode, **attributes)

    def deconvolution(self, weights, *, bias=None, **attributes):
        more = [] if bias is None else [self.constant(np.array(bias, np.float32))]
        return self.then("ConvTranspose", self.constant(weights), *more, **attributes)

    def crop(self, top, left):
        ends = [top + self.size[0], left + self.size[1]]
        names = [self.constant(np.array(v, np.int64)) for v in ([top, left], ends, [2, 3])]
        return self.then("Slice", *names)

    def model(self):
        kind = TensorProto.INT64 if self.nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
        dims = [None] * (3 if any(n.op_type == "ArgMax" and not n.attribute[1].i for n in self.nodes) else 4)
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *self.size])],
            [helper.make_tensor_value_info(self.last, kind, dims)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def grouped(step, size=None, scale=1.0):
    return np.tile(scale * kernel(step, size), (CLASSES, 1, 1, 1)).astype(np.float32)


def diagonal(step):
    weights = np.zeros((CLASSES, CLASSES, 2 * step, 2 * step), np.float32)
    weights[range(CLASSES), range(CLASSES)] = kernel(step)
    return weights


SCALES = [1, 1, STEP, STEP]
SAME = {"strides": [STEP, STEP], "pads": [STEP // 2] * 4}
GUISES = {
    "half pixel": lambda: Graph().resize(scales=SCALES, coordinate_transformation_mode="half_pixel"),
    "half pixel by sizes": lambda: Graph().resize(
        sizes=[1, CLASSES, *SIZE], coordinate_transformation_mode="pytorch_half_pixel"
    ),
    "align corners": lambda: Graph().resize(sizes=[1, CLASSES, *SIZE], coordinate_transformation_mode="align_corners"),
    "asymmetric": lambda: Graph().resize(scales=SCALES, coordinate_transformation_mode="asymmetric"),
    "odd size": lambda: Graph((43, 70)).resize(sizes=[1, CLASSES, 43, 70], coordinate_transformation_mode="half_pixel"),
    "grouped deconvolution": lambda: Graph().deconvolution(grouped(STEP), group=CLASSES, **SAME),
    "diagonal deconvolution": lambda: Graph().deconvolution(diagonal(STEP), **SAME),
    "scaled deconvolution": lambda: Graph().deconvolution(
        grouped(STEP, scale=0.3), bias=[2.0] * CLASSES, group=CLASSES, **SAME
    ),
    "odd kernel": lambda: Graph((24, 30), 3).deconvolution(
        grouped(3, 5), group=CLASSES, strides=[3, 3], pads=[1, 1, 1, 1]
    ),
    "cropped deconvolution": lambda: (
        Graph().deconvolution(grouped(STEP), group=CLASSES, strides=[STEP, STEP]).crop(4, 4)
    ),
    "softmax behind it": lambda: Graph().resize(scales=SCALES).then("Softmax", axis=1),
    "arg-max behind it": lambda: Graph().resize(scales=SCALES).then("ArgMax", axis=1, keepdims=0),
    "arg-max cast to float": lambda: (
        Graph().resize(scales=SCALES).then("ArgMax", axis=1, keepdims=1).then("Cast", to=TensorProto.FLOAT)
    ),
}


@pytest.fixture
def convert(tmp_path):
    def made(graph, words=SPEC):
        path, spec = tmp_path / "foreign.onnx", tmp_path / "foreign.toml"
        onnx.save(graph.model(), str(path))
        spec.write_text(words)
        return path, onnx_model(path, spec=spec).save(tmp_path / "contract.onnx").path

    return made


def operators(path):
    return {node.op_type for node in onnx.load(str(path)).graph.node}


def own_class_map(path, image):
    """What the foreign file itself says of an RGB picture."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)})[0]
    return found.argmax(1)[0] if found.ndim == 4 and found.shape[1] == CLASSES else found.reshape(image.shape[:2])


@pytest.mark.parametrize("guise", GUISES)
def test_fixed_upsample_is_left_out_and_no_class_changes(convert, guise):
    graph = GUISES[guise]()
    path, contract = convert(graph)
    head = contract_from_onnx(contract).spec.head
    assert head.kind == "scores"
    assert not {"Resize", "ConvTranspose", "ArgMax", "Softmax"} & {
        n.op_type for n in onnx.load(str(contract)).graph.node
    }
    image = np.random.default_rng(1).integers(0, 256, (*graph.size, 3), np.uint8)
    with open_engine(contract, target="onnxruntime") as engine:
        found = engine.segment(image).class_map
    assert (found == own_class_map(path, image)).mean() > 0.999  # ties may round apart


def learned():
    weights = grouped(STEP)
    weights[2, 0, 5, 5] += 0.01
    return weights


def mixing():
    weights = diagonal(STEP)
    weights[0, 1] = 0.001
    return weights


STAY = {
    "learned kernel": lambda: Graph().deconvolution(learned(), group=CLASSES, **SAME),
    "classes mixed": lambda: Graph().deconvolution(mixing(), **SAME),
    "each class its own scale": lambda: Graph().deconvolution(
        grouped(STEP) * np.arange(1, CLASSES + 1, dtype=np.float32).reshape(-1, 1, 1, 1), group=CLASSES, **SAME
    ),
    "biased classes": lambda: Graph().deconvolution(grouped(STEP), bias=[0, 0, 1, 0], group=CLASSES, **SAME),
    "nearest": lambda: Graph().resize(scales=SCALES, mode="nearest"),
    "cubic": lambda: Graph().resize(scales=SCALES, mode="cubic"),
    "not to the picture's size": lambda: Graph().resize(scales=[1, 1, 4, 4]),
    "beyond the map": lambda: Graph((24, 30), 3).deconvolution(
        grouped(3, 5), group=CLASSES, strides=[3, 3], pads=[3, 3, 0, 0], output_padding=[1, 1]
    ),
    "something behind it": lambda: Graph().resize(scales=SCALES).then("Relu"),
}


@pytest.mark.parametrize("kind", STAY)
def test_what_is_no_fixed_upsample_to_the_pictures_size_stays(convert, kind):
    graph = STAY[kind]()
    path, contract = convert(graph)
    assert {"Resize", "ConvTranspose"} & operators(contract)
    image = np.random.default_rng(1).integers(0, 256, (*graph.size, 3), np.uint8)
    if kind != "not to the picture's size":
        with open_engine(contract, target="onnxruntime") as engine:
            assert (engine.segment(image).class_map == own_class_map(path, image)).mean() > 0.999


def test_what_does_not_draw_the_same_stays(convert, monkeypatch):
    """The proof decides, not the pattern."""
    from fcn_edge.exporting import folding

    monkeypatch.setattr(folding, "_resize_axis", lambda mode, scale, cells, pixels: Axis(1 / scale, 0.7, pixels))
    _, contract = convert(GUISES["half pixel"]())
    assert contract_from_onnx(contract).spec.head.kind == "logits"


def test_folded_layers_are_named():
    model = Graph().resize(scales=SCALES).then("Softmax", axis=1).model()
    folded = fold_head(model, SIZE)
    assert folded.layers == ("Resize n2", "Softmax n3")
    assert folded.sampling.y == Axis(1 / STEP, 0.5 / STEP - 0.5, SIZE[0])


def test_torchvisions_interpolate_is_folded(convert):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to trace")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = torch.nn.Conv2d(3, CLASSES, STEP, STEP)

        def forward(self, image):
            scores = self.scores(image)
            return torch.nn.functional.interpolate(scores, size=image.shape[-2:], mode="bilinear", align_corners=False)

    buffer = io.BytesIO()
    torch.onnx.export(
        Network().eval(),
        (torch.zeros(1, 3, *SIZE),),
        buffer,
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        dynamic_axes={"image": {2: "h", 3: "w"}},
    )

    class Traced:
        def model(self):
            return onnx.load_from_string(buffer.getvalue())

    spec = f"{SPEC}height = {SIZE[0]}\nwidth = {SIZE[1]}\n"
    path, contract = convert(Traced(), spec)
    assert contract_from_onnx(contract).spec.head.kind == "scores"
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    with open_engine(contract, target="onnxruntime") as engine:
        assert (engine.segment(image).class_map == own_class_map(path, image)).mean() > 0.999
