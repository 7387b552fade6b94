"""A checkpoint becomes an ONNX file that is the same network, feeds itself, and says so."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import open_engine
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import evaluate
from fcn_edge.exporting import export, onnx_model
from fcn_edge.geometry import Sampling, stretch, stride
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx
from fcn_edge.registry import packaged_file
from fcn_edge.spec import spec_from_json
from fcn_edge.transforms import class_map_from_scores
from tests.progress import RecordedProgress

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to export")

from fcn_edge.exporting import trace  # noqa: E402 - needs torch
from fcn_edge.models.checkpoint import checkpoint_from_file  # noqa: E402
from fcn_edge.models.fcn import padded  # noqa: E402
from tests.refusals import refused  # noqa: E402

# fp32 on both sides: sums in another order, batch norms folded into weights; 1e-6 is what is seen.
MAX_RELATIVE_ERROR = 1e-4
# Enlarged in the graph or sampled outside it: at a seam between two classes the rounding decides.
MIN_AGREEMENT = 0.999
NARROW = 1 / 16  # of VGG's channels: the paper's geometry without half a gigabyte of weights


class Unlabelled:
    """An item of a data set whose labels are all ignored."""

    def __init__(self, item):
        self._item = item

    def __getattr__(self, name):
        return getattr(self._item, name)

    def labels(self):
        return np.full_like(self._item.labels(), 255)


def colourful(height, width):
    """Noise whose channels have other means, so that no two of them can be exchanged unseen."""
    noise = np.random.default_rng(7).integers(0, 120, (height, width, 3))
    return (noise + (0, 60, 130)).astype(np.uint8)


def pytorch_logits(path, image):
    """(C, H, W) of the network itself, normalised by hand: nothing of an engine or a spec in between."""
    loaded = checkpoint_from_file(path)
    given = loaded.header.input
    rgb = image[:, :, ::-1].astype(np.float32)
    ready = (rgb - np.float32(given.mean)) / np.float32(given.std)
    if given.channels == "bgr":
        ready = ready[:, :, ::-1]
    x = torch.from_numpy(np.ascontiguousarray(ready.transpose(2, 0, 1)))[None]
    with torch.inference_mode():
        logits = loaded.network(padded(x, loaded.network.geometry))[0]
    return logits[:, : image.shape[0], : image.shape[1]].numpy()


def assert_same_network(checkpoint, file, size, target="onnxruntime"):
    image = colourful(*size)
    wanted = pytorch_logits(checkpoint, image)
    assert len(np.unique(wanted.argmax(0))) > 1, "one class everywhere: the test says nothing"
    with open_engine(file, target=target) as engine:
        output = engine.infer(image[None])[0]
        class_map = engine.segment(image).class_map
    assert (class_map == wanted.argmax(0)).mean() >= MIN_AGREEMENT
    if output.shape == wanted.shape:
        assert np.abs(output - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()


@pytest.mark.slow
def test_graph_is_a_contract(exported, checkpoint_file):
    model = onnx.load(str(exported()))
    onnx.checker.check_model(model, full_check=True)
    (source,) = model.graph.input
    assert source.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value for dim in source.type.tensor_type.shape.dim] == [1, 64, 96, 3]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    spec = spec_from_json({entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY], "test")
    assert spec.weights_sha256 == hashlib.sha256(checkpoint_file.read_bytes()).hexdigest()
    assert spec.head.sampling == Sampling(stride(64, 8), stride(96, 8))


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_graph_begins_with_cast_and_spends_no_node_on_colours(exported, dynamic):
    nodes = [node.op_type for node in onnx.load(str(exported(dynamic=dynamic))).graph.node]
    assert nodes[:6] == ["Cast", "Transpose", "Sub", "Mul", "Conv", "Clip"]
    assert set(nodes) == {"Cast", "Transpose", "Sub", "Mul", "Conv", "Clip", "Add", "ConvTranspose"}


def test_batch_norms_are_folded_and_every_layer_is_one_node(exported):
    network = checkpoint_from_file(exported().with_name("tiny.safetensors")).network
    layers = sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules())
    nodes = [node.op_type for node in onnx.load(str(exported())).graph.node]
    assert nodes.count("Conv") == layers
    assert nodes.count("ConvTranspose") == 2, "the last deconvolution is left to direct sampling"


@pytest.mark.slow
@pytest.mark.parametrize(("head", "shape"), [("scores", (11, 8, 12)), ("logits", (11, 64, 96)), ("classes", (64, 96))])
def test_heads_agree(exported, checkpoint_file, head, shape, frame):
    with open_engine(exported(head=head), target="onnxruntime") as engine:
        assert engine.spec.head.kind == head
        assert engine.infer(frame[None]).shape == (1, *shape)
        class_map = engine.segment(frame).class_map
    assert (class_map == pytorch_logits(checkpoint_file, frame).argmax(0)).mean() >= MIN_AGREEMENT
    assert_same_network(checkpoint_file, exported(head=head), (64, 96))


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("io", ["contract", "plain"])
def test_colours_reach_the_weights_in_their_order(write_checkpoint, tmp_path, channels, io):
    checkpoint = write_checkpoint({"backbone": "vgg16", "width": NARROW}, channels=channels)
    out = tmp_path / "a.onnx"
    export(checkpoint, out, head="logits", io=io)
    if io == "contract":
        assert_same_network(checkpoint, out, (64, 96))
        return
    image = colourful(64, 96)
    rgb = (image[:, :, ::-1] - np.float32((90, 110, 130))) / np.float32((40, 60, 80))
    ready = rgb if channels == "rgb" else rgb[:, :, ::-1]
    found = plain_run(out, ready.transpose(2, 0, 1)[None])[0]
    wanted = pytorch_logits(checkpoint, image)
    assert np.abs(found - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()


def plain_run(path, x):
    """The file as any other tool runs it: no spec, no engine."""
    (output,) = Taps(path.read_bytes(), path.name).run(np.ascontiguousarray(x, np.float32)).values()
    return output


@pytest.mark.slow
def test_plain_file_takes_planar_floats_and_gives_logits(exported, checkpoint_file, frame):
    path = exported(head="logits", io="plain")
    model = onnx.load(str(path))
    (source,) = model.graph.input
    assert source.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [dim.dim_value for dim in source.type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert model.graph.node[0].op_type == "Conv"
    ready = ((frame[:, :, ::-1].astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    found, wanted = plain_run(path, ready)[0], pytorch_logits(checkpoint_file, frame)
    assert np.abs(found - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()


@pytest.mark.slow
def test_plain_file_comes_back_as_a_contract(exported, tmp_path, frame):
    """It carries its spec along, so no --spec is needed."""
    path = onnx_model(exported(head="logits", io="plain")).save(tmp_path / "again.onnx").path
    with open_engine(path, target="onnxruntime") as again, open_engine(exported(), target="onnxruntime") as first:
        assert again.spec.classes == first.spec.classes and again.spec.preprocess == first.spec.preprocess
        agreement = (again.segment(frame).class_map == first.segment(frame).class_map).mean()
    assert agreement >= MIN_AGREEMENT


@pytest.mark.slow
def test_plain_scores_are_refused_with_what_to_pass(checkpoint_file, tmp_path):
    with refused(BadInput, "plain", "head", "logits"):
        export(checkpoint_file, tmp_path / "a.onnx", io="plain")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "size"), [("scores", (50, 70)), ("scores", (33, 128)), ("logits", (50, 70)), ("classes", (50, 70))]
)
def test_sizes_between_the_strides_are_padded_inside_the_graph(checkpoint_file, tmp_path, head, size):
    out = tmp_path / "a.onnx"
    export(checkpoint_file, out, head=head, size=size)
    assert contract_from_onnx(out).spec.preprocess.size == size
    output = onnx.load(str(out)).graph.output[0].type.tensor_type.shape.dim
    assert all(dim.dim_value > 0 for dim in output), "a fixed file names no size after a node"
    for target in ("onnxruntime", "openvino"):
        assert_same_network(checkpoint_file, out, size, target)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["scores", "logits"])
def test_free_size_runs_at_two_sizes(exported, checkpoint_file, head):
    with open_engine(exported(dynamic=True, head=head), target="onnxruntime") as engine:
        for size in ((64, 96), (96, 128)):
            image = colourful(*size)
            output, wanted = engine.infer(image[None])[0], pytorch_logits(checkpoint_file, image)
            sampling = engine.spec.head.sampling.with_size(*size)
            class_map = class_map_from_scores(output, sampling)
            assert (class_map == wanted.argmax(0)).mean() >= MIN_AGREEMENT


@pytest.mark.parametrize(
    ("size", "dynamic", "facts"),
    [
        ((50, 96), True, ("50x96", 32, "dynamic", "64x96")),
        ((64, 97), True, ("64x97", 32, "dynamic", "64x128")),
        ((31, 96), False, (32, 8192)),
        ((64, 9000), False, (32, 8192)),
    ],
)
def test_impossible_sizes_are_refused(checkpoint_file, tmp_path, size, dynamic, facts):
    with refused(BadInput, *facts):
        export(checkpoint_file, tmp_path / "a.onnx", size=size, dynamic=dynamic)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_export_is_the_same_every_time(checkpoint_file, exported, tmp_path):
    export(checkpoint_file, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == exported().read_bytes()


@pytest.mark.slow
def test_parity_is_told(checkpoint_file, tmp_path):
    done = export(checkpoint_file, tmp_path / "a.onnx")
    assert done.path == tmp_path / "a.onnx" and done.opset == 17
    assert 0 <= done.parity.relative_error <= MAX_RELATIVE_ERROR
    assert done.parity.agreement == 1.0 and done.parity.engine.startswith("onnxruntime ")


@pytest.mark.slow
@pytest.mark.parametrize(("head", "value"), [("scores", 3.0), ("logits", 3.0), ("classes", 3.0), ("scores", np.nan)])
def test_graph_that_is_another_network_is_never_written(checkpoint_file, tmp_path, monkeypatch, head, value):
    """One weight of the traced graph is changed behind the exporter's back."""

    def spoilt(model):
        weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("score_fr.weight"))
        values = numpy_helper.to_array(weights).copy()
        values[4] = value
        weights.CopyFrom(numpy_helper.from_array(values, weights.name))
        return tidy(model)

    tidy = trace.tidy_model
    monkeypatch.setattr(trace, "tidy_model", spoilt)
    with refused(BadInput, "tiny.safetensors", "0.001", "99.9%"):
        export(checkpoint_file, tmp_path / "a.onnx", head=head)
    assert list(tmp_path.iterdir()) == []


PAD100 = {"backbone": "vgg16", "width": NARROW, "geometry": "pad100"}


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 96), (70, 50)])
@pytest.mark.parametrize("head", ["scores", "logits"])
def test_original_geometry_is_exported_as_it_is(write_checkpoint, tmp_path, head, size):
    checkpoint = write_checkpoint(PAD100, channels="bgr", std=(1.0, 1.0, 1.0))
    done = export(checkpoint, tmp_path / "a.onnx", head=head, size=size)
    assert_same_network(checkpoint, done.path, size)


@pytest.mark.slow
def test_same_padding_makes_another_network_of_the_same_weights(write_checkpoint, tmp_path):
    checkpoint = write_checkpoint(PAD100)
    export(checkpoint, tmp_path / "same.onnx", same_padding=True)
    export(checkpoint, tmp_path / "original.onnx")
    same, original = (contract_from_onnx(tmp_path / f"{name}.onnx").spec for name in ("same", "original"))
    assert (same.name, same.weights_sha256) == ("other_same", original.weights_sha256)
    assert same.head.sampling == Sampling(stride(64, 8), stride(96, 8)) != original.head.sampling
    image = colourful(64, 96)
    with open_engine(tmp_path / "same.onnx") as ours, open_engine(tmp_path / "original.onnx") as theirs:
        assert ours.infer(image[None]).shape[2:] == (8, 12)
        agreement = (ours.segment(image).class_map == theirs.segment(image).class_map).mean()
    assert 0.3 < agreement < 1, "the same weights see the same picture, but for its border"


def test_same_padding_of_what_pads_by_itself_is_refused(checkpoint_file, tmp_path):
    with refused(BadInput, "tiny", "padding"):
        export(checkpoint_file, tmp_path / "a.onnx", same_padding=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_price_of_same_padding_is_what_evaluating_both_files_says(write_checkpoint, tmp_path):
    data = dataset_from_name("synthetic:street,seed=1,images=8,size=64x96")
    out, progress = tmp_path / "same.onnx", RecordedProgress()
    price = export(write_checkpoint(PAD100), out, same_padding=True, data=data, progress=progress).padding
    with open_engine(out) as engine:
        assert price.miou == evaluate(engine, data).scores.miou
    export(tmp_path / "other.safetensors", tmp_path / "original.onnx")
    with open_engine(tmp_path / "original.onnx") as engine:
        assert price.miou_original == evaluate(engine, data).scores.miou
    assert price.miou != price.miou_original
    assert price.difference == price.miou - price.miou_original and price.images == 8
    assert price.interval[0] <= price.difference <= price.interval[1]
    assert progress.updates == [("evaluating both", n, 16) for n in range(1, 17)]


@pytest.mark.slow
def test_same_padding_cannot_be_compared_without_a_labelled_pixel(write_checkpoint, tmp_path):
    streets = dataset_from_name("synthetic:street,seed=1,images=1,size=64x96")
    data = replace(streets, items=[Unlabelled(streets.items[0])])
    with refused(BadInput, "synthetic:street,seed=1,images=1,size=64x96", "label"):
        export(write_checkpoint(PAD100), tmp_path / "same.onnx", same_padding=True, data=data)
    assert not (tmp_path / "same.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["alexnet", "googlenet", "resnet18"])
def test_backbone_is_exported_as_it_is(write_checkpoint, tmp_path, backbone):
    checkpoint = write_checkpoint({"backbone": backbone, "width": 1 / 4})
    export(checkpoint, tmp_path / "a.onnx")
    assert_same_network(checkpoint, tmp_path / "a.onnx", (64, 96))


@pytest.mark.slow
@pytest.mark.parametrize(("head", "size"), [("scores", (64, 96)), ("logits", (70, 50)), ("classes", (64, 96))])
def test_torchvision_form_is_exported_without_its_auxiliary_head(write_checkpoint, tmp_path, head, size):
    checkpoint = write_checkpoint({"backbone": "resnet50", "form": "torchvision", "width": 1 / 4})
    export(checkpoint, tmp_path / "a.onnx", head=head, size=size)
    assert_same_network(checkpoint, tmp_path / "a.onnx", size)
    graph = onnx.load(str(tmp_path / "a.onnx")).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 1 + 16 * 3 + 4 + 2, "stem, bottlenecks, their shortcuts, one head"
    assert not [name for node in graph.node for name in (node.name, *node.input) if "aux" in name]


@pytest.mark.slow
def test_torchvision_form_of_free_size_is_its_own_at_each(write_checkpoint, tmp_path):
    checkpoint = write_checkpoint({"backbone": "resnet50", "form": "torchvision", "width": 1 / 4})
    export(checkpoint, tmp_path / "a.onnx", head="logits", dynamic=True)
    image = colourful(96, 128)
    with open_engine(tmp_path / "a.onnx", target="onnxruntime") as engine:
        found = engine.infer(image[None])[0]
    wanted = pytorch_logits(checkpoint, image)
    assert np.abs(found - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()


def scramble_last(network):
    """A last layer that mixes classes, as no fixed upsampling does."""
    torch.nn.init.normal_(network.upscore8.weight, std=0.05)


@pytest.mark.parametrize("head", ["scores", "logits", "classes"])
def test_learned_last_layer_stays_in_the_graph(write_checkpoint, tmp_path, head):
    checkpoint = write_checkpoint({"backbone": "vgg16", "width": NARROW, "learn_last": True}, scramble_last)
    export(checkpoint, tmp_path / "a.onnx", head=head)
    assert contract_from_onnx(tmp_path / "a.onnx").spec.head.kind == ("logits" if head == "scores" else head)
    assert_same_network(checkpoint, tmp_path / "a.onnx", (64, 96))


def test_learned_last_layer_runs_in_pytorch_too(write_checkpoint):
    checkpoint = write_checkpoint({"backbone": "vgg16", "width": NARROW, "learn_last": True}, scramble_last, height=50)
    image = colourful(50, 96)
    with open_engine(checkpoint) as engine:
        assert engine.spec.head.kind == "logits"
        assert engine.spec.head.sampling == Sampling(stretch(50, 50), stretch(96, 96))
        found = engine.infer(image[None])[0]
    np.testing.assert_allclose(found, pytorch_logits(checkpoint, image), rtol=MAX_RELATIVE_ERROR, atol=1e-3)


@pytest.mark.slow
def test_checkpoint_is_exported_in_memory_and_a_contract_is_left_alone(checkpoint_file, exported, tmp_path):
    made = onnx_model(checkpoint_file)
    assert (made.path, made.file) == (checkpoint_file, None)
    assert made.sha256 == sha256_of_file(exported()) == made.save(tmp_path / "a.onnx").sha256
    given = onnx_model(exported())
    assert (given.path, given.file) == (exported(), exported()) and onnx_model(given) is given


def test_spec_for_a_file_that_has_its_own_is_refused(exported, tmp_path):
    with refused(BadInput, "tiny.onnx", "spec"):
        onnx_model(exported(), spec=tmp_path / "spec.toml")


@pytest.mark.slow
def test_packaged_network_is_exported_from_its_checkpoint(tmp_path):
    made = export(None, tmp_path / "net.onnx", head="classes")
    assert made.parity.agreement >= 0.999 and made.model.spec.head.kind == "classes"
    assert made.model.spec.weights_sha256 == sha256_of_file(packaged_file(".safetensors"))


def test_packaged_network_without_pytorch_is_its_onnx_file_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn_edge.exporting.available_targets", lambda: ("onnxruntime",))
    made = export("fcn4s_lite0_camvid", tmp_path / "net.onnx")
    assert made.parity is None and made.path.read_bytes() == packaged_file(".onnx").read_bytes()
    with refused(BadInput, "fcn4s_lite0_camvid.onnx", "head", "size", "checkpoints"):
        export(None, tmp_path / "other.onnx", head="logits")
    assert not (tmp_path / "other.onnx").exists()


def test_file_with_a_contract_has_nothing_to_export(exported, tmp_path):
    with refused(BadInput, "tiny.onnx", "contract"):
        export(exported(), tmp_path / "a.onnx")


def test_engine_directory_is_not_exported(tmp_path):
    (tmp_path / "engine").mkdir()
    with refused(BadInput, "engine", "checkpoint"):
        export(tmp_path / "engine", tmp_path / "a.onnx")
