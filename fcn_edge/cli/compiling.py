"""Verbs that make faster files of a network: calibrate, build-engine."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from fcn_edge.cli.app import (
    AllowOverlap,
    Json,
    Model,
    RecipeName,
    Spec,
    Threads,
    app,
    emit,
    progress,
    recipe_of,
    require_suffix,
    runnable,
    say,
)
from fcn_edge.cli.planning import (
    HardwareCompatibility,
    MaxShapes,
    MinShapes,
    OptimisationLevel,
    OptShapes,
    Sm,
    Sparsity,
    TimingCache,
    VersionCompatible,
    Workspace,
)


class BuildTarget(str, Enum):
    auto = "auto"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"
    openvino = "openvino"
    onnxruntime = "onnxruntime"


class Precision(str, Enum):
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"
    int8_fp16 = "int8-fp16"


class Method(str, Enum):
    minmax = "minmax"
    entropy = "entropy"
    percentile = "percentile"
    mse = "mse"


class Placement(str, Enum):
    any = "any"
    x86 = "x86"
    nvidia = "nvidia"


Calib = Annotated[str | None, typer.Option("--calib", help="Folder, glob, video, data set, TOML or table of images.")]
CalibImages = Annotated[int | None, typer.Option("--images", min=1, help="How many of them, evenly spread [100].")]


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="fp32 ONNX file (with --spec where it was made elsewhere).")],
    out: Annotated[Path, typer.Option("--out", help="INT8 file to write.")],
    calib: Annotated[str, typer.Option("--calib", help="Folder, glob, video, data set, TOML or table of images.")],
    method: Annotated[Method | None, typer.Option("--method", help="How a range becomes a scale [percentile].")] = None,
    images: CalibImages = None,
    placement: Annotated[Placement, typer.Option("--placement", help="Where Q/DQ stands.")] = Placement.any,
    data: Annotated[str | None, typer.Option("--data", help="Labelled set that no image may be in.")] = None,
    allow_overlap: AllowOverlap = False,
    verify: Annotated[str | None, typer.Option("--verify", help="Images that the table must be made of.")] = None,
    save_set: Annotated[Path | None, typer.Option("--save-set", help="TOML that makes the set again.")] = None,
    dla_cache: Annotated[Path | None, typer.Option("--dla-cache", help="Also a TensorRT cache for DLA.")] = None,
    dla_tensorrt: Annotated[str, typer.Option("--dla-tensorrt", help="Version that reads it.")] = "10.3.0",
    spec: Spec = None,
    json: Json = False,
) -> None:
    """An INT8 (Q/DQ) ONNX file from images, and its table.

    Tells which classes the images show, what each tensor loses at its scale, and whether more images
    would still move the scales. The table knows the network, its preprocessing and every image; with
    another of these it is refused.

    \b
    Examples:
      fcn-edge calibrate net.onnx --calib camvid:camvid#train --data camvid:camvid#val --out net.int8.onnx
      fcn-edge calibrate net.onnx --calib images/ --images 200 --method mse --save-set set.toml --out net.int8.onnx
      fcn-edge calibrate net.onnx --calib net.int8.table.json --verify set.toml --out again.int8.onnx
      fcn-edge calibrate net.onnx --calib images/ --out net.int8.onnx --dla-cache net.dla.cache
    """
    from fcn_edge.calibration import int8_from_onnx
    from fcn_edge.calibration.dla import dla_line, tensorrt_number, write_dla_cache
    from fcn_edge.calibration.images import save_recipe
    from fcn_edge.cli.building import describe_calibration, require_fp32
    from fcn_edge.data import dataset_from_name
    from fcn_edge.outputs import require_apart, require_outputs
    from fcn_edge.schema import to_mapping

    require_suffix(out, ".onnx", "an ONNX file")
    if save_set is not None:
        require_suffix(save_set, ".toml", "a calibration set", option="--save-set")
    if dla_cache is not None:
        tensorrt_number(dla_tensorrt)  # before minutes of calibrating
    held_out = dataset_from_name(data) if data and not allow_overlap else None
    table, read = out.with_suffix(".table.json"), [model, calib, verify, spec, data]
    require_outputs([out, table, save_set], read)
    require_apart([path for path in (out, table, save_set, dla_cache) if path is not None], read)
    with runnable(model, spec) as path, progress() as tick:
        require_fp32(path)
        made = int8_from_onnx(
            path,
            out,
            calib=calib,
            method=None if method is None else method.value,
            count=images,
            placement=placement.value,
            table_out=table,
            held_out=held_out,
            verify=verify,
            on_image=lambda done, total: tick("calibrating", done, total),
            on_note=lambda text: say(f"note: {text}"),
        )
    assert made.table is not None and made.coverage is not None
    if save_set is not None:
        save_recipe(save_set, made.table.source, made.table.hashes)
    for_dla = None
    if dla_cache is not None:
        count = write_dla_cache(made.table, dla_cache, tensorrt=dla_tensorrt)
        for_dla = {"cache": str(dla_cache), "tensors": count, "trtexec": dla_line(dla_cache)}
    result: dict[str, Any] = {
        "onnx": str(out),
        "table": str(table),
        "tensors": len(made.table.tensors),
        "method": made.table.method,
        "images": len(made.table.images_sha256),
        "skipped": list(made.table.skipped),
        "placement": placement.value,
        "kept_float": list(made.quantization.kept_float),
        "coverage": to_mapping(made.coverage),
        "dla": for_dla,
    }
    emit(result, as_json=json, human=lambda: describe_calibration(result))


@app.command("build-engine")
def build_engine(
    model: Model = None,
    out: Annotated[Path, typer.Option("--out", help="Engine directory to write.")] = Path("engine"),
    target: Annotated[BuildTarget, typer.Option("--target", help="What it runs on.")] = BuildTarget.auto,
    precision: Annotated[Precision | None, typer.Option("--precision", help="[fp16 on a GPU, fp32 on a CPU]")] = None,
    calib: Calib = None,
    images: CalibImages = None,
    method: Annotated[Method | None, typer.Option("--method", help="How a range becomes a scale [percentile].")] = None,
    placement: Annotated[Placement | None, typer.Option("--placement", help="Where Q/DQ stands [by target].")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Labelled set to measure mIoU on.")] = None,
    allow_overlap: AllowOverlap = False,
    max_miou_drop: Annotated[
        float | None, typer.Option("--max-miou-drop", min=0, max=100, help="Points of mIoU (0..100).")
    ] = None,
    sm: Sm = None,
    workspace: Workspace = None,
    optimisation_level: OptimisationLevel = None,
    timing_cache: TimingCache = None,
    min_shapes: MinShapes = None,
    opt_shapes: OptShapes = None,
    max_shapes: MaxShapes = None,
    version_compatible: VersionCompatible = False,
    hardware_compatible: HardwareCompatibility = None,
    sparsity: Sparsity = False,
    spec: Spec = None,
    recipe: RecipeName = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Checkpoint or ONNX file to an engine directory.

    Exports and calibrates where needed, compiles, measures mIoU on --data and writes a manifest.
    With --max-miou-drop, INT8 keeps as few layers in float as that budget asks for (measured, and
    remembered in OUT.budget.json for another try); where nothing meets it, no engine is written
    and the exit code is 1. Each engine is held against a reference run of its own file.
    For fp16, --calib shows which nodes half precision cannot hold; these stay in FP32.

    \b
    Examples:
      fcn-edge build-engine net.safetensors --target openvino --precision int8 \\
        --calib camvid:camvid#train --data camvid:camvid#val --max-miou-drop 0.5 --out engine
      fcn-edge build-engine net.onnx --target tensorrt-rtx --precision int8 --calib images/ --sm 86,89 --out rtx
      fcn-edge build-engine net.onnx --target tensorrt --precision fp16 --calib images/ --out half
      fcn-edge build-engine other.onnx --spec other.toml --precision int8 --calib video.mp4 --out engine
    """
    from fcn_edge.build import BuildOptions
    from fcn_edge.build import build_engine as build
    from fcn_edge.cli.building import chosen_target, describe_build
    from fcn_edge.cli.planning import shapes_from_text, sm_from_text
    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines.trt import PlanOptions

    plan = PlanOptions(
        sm_from_text(sm),
        workspace,
        optimisation_level,
        shapes_from_text(min_shapes, opt_shapes, max_shapes),
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,  # type: ignore[arg-type]
        sparsity=sparsity,
    )
    resolved = chosen_target(target.value)
    wanted = precision.value if precision else ("fp16" if resolved.startswith("tensorrt") else "fp32")
    options = BuildOptions(
        resolved,
        wanted,  # type: ignore[arg-type]
        calib=calib,
        calib_images=images,
        method=method.value if method else None,
        placement=placement.value if placement else None,
        max_miou_drop=max_miou_drop,
        plan=plan,
        threads=threads,
        allow_overlap=allow_overlap,
    )
    labelled = dataset_from_name(data) if data else None
    with progress() as tick:
        built = build(
            model, out, options=options, data=labelled, spec=spec, recipe=recipe_of(recipe), on_stage=say, on_image=tick
        )
    manifest: dict[str, Any] = built.manifest
    result = {
        "engine": str(built.path),
        "manifest": str(built.path / "manifest.json"),
        "target": manifest["target"],
        "precision": manifest["precision"],
        "execution": manifest["execution"],
        "miou": manifest["miou"],
        "miou_reference": manifest["miou_reference"],
        "miou_drop": manifest["drop"],
        "kept_float": manifest["kept_float"],
        "seconds": round(built.seconds, 2),
    }
    emit(result, as_json=json, human=lambda: describe_build(built))
