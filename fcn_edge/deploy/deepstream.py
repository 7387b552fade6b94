"""A folder that DeepStream's nvinfer runs: graph, configuration and labels.

Source of the keys: Gst-nvinfer's page of the DeepStream developer guide. What nvinfer does with the output:
per pixel the class of the largest value above `segmentation-threshold`, or -1.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from fcn_edge.atomic_io import whole_folder
from fcn_edge.deploy.planar import PROBABILITIES, planar_from_contract
from fcn_edge.engines.trt import PlanOptions, trtexec_lines
from fcn_edge.errors import BadInput
from fcn_edge.exporting import onnx_model
from fcn_edge.onnxfile import save_onnx
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import require_signed_pairs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe
from fcn_edge.spec import ModelSpec, Precision

NETWORK_MODES: dict[Precision, tuple[int, str]] = {"fp32": (0, "fp32"), "int8": (1, "int8"), "fp16": (2, "fp16")}
SEMANTIC_SEGMENTATION, BGR, NCHW, BILINEAR, WHOLE_FRAMES = 2, 1, 0, 1, 1


@dataclass(frozen=True)
class DeepStreamFolder:
    """What was written. trtexec: by version, the line that builds the engine on the device. pipeline: a try-out.

    warnings: where nvinfer will not do quite what fcn-edge does.
    """

    path: Path
    config: Path
    engine: str
    trtexec: dict[str, str]
    pipeline: str
    warnings: tuple[str, ...]


def deepstream_from_onnx(
    model: str | Path | OnnxModel | None,
    out: str | Path,
    *,
    spec: str | Path | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> DeepStreamFolder:
    """Write a folder that DeepStream's nvinfer runs; it is whole or not there.

    Args:
        model: an ONNX file, a checkpoint (exported first), a packaged name, or None for the packaged network.
        out: folder to write, which must not be there.
        spec: TOML file that describes an ONNX file made elsewhere. recipe: the network of a plain state dict.
        progress: takes warnings about a file made elsewhere.

    Returns:
        What was written, with the commands that build its engine and try it.

    Raises:
        BadInput: `out` exists, or nvinfer cannot run the network (`planar_from_contract` says why).

    Example:
        >>> deepstream_from_onnx("net.fp16.onnx", "deepstream").config
        PosixPath('deepstream/nvinfer.txt')
    """
    net, out = onnx_model(model, spec=spec, recipe=recipe, progress=progress), Path(out)
    contract, precision = net.spec, net.precision
    if precision not in NETWORK_MODES:
        raise BadInput(f"{net.path}: {precision} has no network-mode in nvinfer; take the fp16 or the int8 file")
    require_signed_pairs(net.graph, str(net.path))
    if out.exists():
        raise BadInput(f"{out}: exists already; choose another `out`, or take it away first")
    mode, suffix = NETWORK_MODES[precision]
    engine = f"model.onnx_b1_gpu0_{suffix}.engine"  # the name that nvinfer gives to what it builds
    planar = planar_from_contract(net.copy(), contract, str(net.path))
    warnings = _warnings(contract, precision)
    with whole_folder(out) as part:
        save_onnx(planar, part / "model.onnx")
        (part / "labels.txt").write_text("".join(f"{name}\n" for name in contract.classes), encoding="utf-8")
        (part / "nvinfer.txt").write_text(_configuration(contract, mode, engine, warnings), encoding="utf-8")
    lines = trtexec_lines("model.onnx", engine, target="tensorrt", precision=precision, options=PlanOptions())
    return DeepStreamFolder(out, out / "nvinfer.txt", engine, lines, _pipeline(out, contract), warnings)


def _configuration(spec: ModelSpec, mode: int, engine: str, warnings: tuple[str, ...]) -> str:
    height, width = spec.preprocess.size
    letterbox = int(spec.preprocess.resize == "letterbox")
    keys: dict[str, object] = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "process-mode": WHOLE_FRAMES,
        "batch-size": 1,
        "onnx-file": "model.onnx",
        "model-engine-file": engine,
        "labelfile-path": "labels.txt",
        "network-mode": mode,
        "network-type": SEMANTIC_SEGMENTATION,
        "num-detected-classes": spec.num_classes,
        "infer-dims": f"3;{height};{width}",
        "model-color-format": BGR,
        "net-scale-factor": "1.0",
        "offsets": "0;0;0",
        "maintain-aspect-ratio": letterbox,
        "symmetric-padding": letterbox,
        "scaling-filter": BILINEAR,
        "output-blob-names": PROBABILITIES,
        "segmentation-output-order": NCHW,
        "segmentation-threshold": "0.0",
        "output-tensor-meta": 0,
    }
    head = [f"# {spec.name}: {spec.num_classes} classes, {height}x{width}; mean and std are in the graph.", ""]
    notes = [f"# {text}" for text in warnings]
    return "\n".join([*head[:1], *notes, "", "[property]", *(f"{key}={value}" for key, value in keys.items()), ""])


def _warnings(spec: ModelSpec, precision: Precision) -> tuple[str, ...]:
    found = []
    if precision == "int8":
        found.append("int8 is in the graph (Q/DQ): build the engine with trtexec first, nvinfer asks for a table else")
    if spec.preprocess.resize == "letterbox":
        found.append("nvinfer's letterbox is black, the network's is the mean: its border may get other classes")
    if spec.preprocess.interpolation != "bilinear":
        found.append(f"nvinfer resizes bilinearly here, the network expects {spec.preprocess.interpolation}")
    return tuple(found)


def _pipeline(out: Path, spec: ModelSpec) -> str:
    height, width = spec.preprocess.size
    muxed = "nvstreammux name=mux batch-size=1 width=1280 height=720"
    return (
        f"gst-launch-1.0 {muxed} ! nvinfer config-file-path={shlex.quote(str(out / 'nvinfer.txt'))} !"
        f" nvsegvisual width={width} height={height} ! nvvideoconvert ! autovideosink"
        " uridecodebin uri=file:///path/to/video.mp4 ! mux.sink_0"
    )
