"""The verb `build-engine`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn_edge.choices import BuildPrecision, BuildTarget, PlacementName
from fcn_edge.cli._app import verb
from fcn_edge.cli._options import (
    AllowOverlapOption,
    CalibImagesOption,
    CalibOption,
    JsonOption,
    MethodOption,
    ModelArgument,
    RecipeOption,
    SpecOption,
    ThreadsOption,
)
from fcn_edge.cli._parse import shapes_from_text, sm_from_text
from fcn_edge.cli._print import emit, progress_bar, show

if TYPE_CHECKING:
    from fcn_edge.engines.manifest import LayerReport, Manifest

SmOption = Annotated[str | None, typer.Option("--sm", help="TensorRT-RTX: compute capabilities such as 86,89,120.")]
WorkspaceOption = Annotated[
    int | None, typer.Option("--workspace", min=1, help="TensorRT: MB of memory that the builder may use.")
]
OptimisationLevelOption = Annotated[
    int | None, typer.Option("--builder-optimization-level", min=0, max=5, help="TensorRT: 0 fast to 5 thorough [3].")
]
TimingCacheOption = Annotated[
    Path | None, typer.Option("--timing-cache-file", help="TensorRT: kernel timings to start from, and to keep.")
]
MinShapesOption = Annotated[
    str | None, typer.Option("--min-shapes", help="TensorRT: smallest input of an open size, such as frame:1x64x64x3.")
]
OptShapesOption = Annotated[str | None, typer.Option("--opt-shapes", help="TensorRT: input size to optimise for.")]
MaxShapesOption = Annotated[str | None, typer.Option("--max-shapes", help="TensorRT: largest input.")]
VersionCompatibleOption = Annotated[
    bool, typer.Option("--version-compatible", help="TensorRT: newer minor versions run it; it carries host code.")
]
HardwareCompatibleOption = Annotated[
    str | None, typer.Option("--hardware-compatibility-level", help="TensorRT: ampere+ or sameComputeCapability.")
]
SparsityOption = Annotated[bool, typer.Option("--sparsity", help="TensorRT: use 2:4 sparse weights where present.")]


@verb
def build_engine(
    model: ModelArgument = None,
    out: Annotated[Path, typer.Option("--out", help="Engine directory to write.")] = Path("engine"),
    target: Annotated[
        BuildTarget, typer.Option("--target", help="Engine to compile for; auto: the first that builds and runs here.")
    ] = "auto",
    precision: Annotated[
        BuildPrecision | None,
        typer.Option("--precision", help="Precision of the engine [fp16 on a GPU, fp32 on a CPU]."),
    ] = None,
    calib: CalibOption = None,
    calib_images: CalibImagesOption = None,
    method: MethodOption = None,
    placement: Annotated[
        PlacementName | None, typer.Option("--placement", help="Rules for Q/DQ placement [by target].")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled data set, KIND:PATH#SPLIT, to measure mIoU on.")
    ] = None,
    allow_overlap: AllowOverlapOption = False,
    max_miou_drop: Annotated[
        float | None,
        typer.Option(
            "--max-miou-drop", min=0, max=100, help="INT8: largest loss of mIoU against fp32, in points (0..100)."
        ),
    ] = None,
    sm: SmOption = None,
    workspace_mb: WorkspaceOption = None,
    optimisation_level: OptimisationLevelOption = None,
    timing_cache: TimingCacheOption = None,
    min_shapes: MinShapesOption = None,
    opt_shapes: OptShapesOption = None,
    max_shapes: MaxShapesOption = None,
    version_compatible: VersionCompatibleOption = False,
    hardware_compatible: HardwareCompatibleOption = None,
    sparsity: SparsityOption = False,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Build an engine from a checkpoint or ONNX file.

    A checkpoint is exported, INT8 is calibrated on the images of --calib, the engine is compiled and compared
    with a reference run of its own file; mIoU is measured on --data. The engine directory --out holds the
    engine, its ONNX file and manifest.json.

    With --max-miou-drop as few layers as possible stay in float so that INT8 loses at most that many points
    of mIoU. Results of earlier attempts are read from OUT.budget.json. If no choice of layers is within the
    budget, no engine is written and the exit code is 1.

    For fp16, images of --calib show which nodes overflow or lose precision in FP16; these stay in FP32.

    \b
    Examples:
      fcn-edge build-engine net.safetensors --target openvino --precision int8 \\
        --calib camvid:camvid#train --data camvid:camvid#val --max-miou-drop 0.5 --out engine
      fcn-edge build-engine net.onnx --target tensorrt-rtx --precision int8 --calib images/ --sm 86,89 --out rtx
      fcn-edge build-engine net.onnx --target tensorrt --precision fp16 --calib images/ --out half
      fcn-edge build-engine other.onnx --spec other.toml --precision int8 --calib video.mp4 --out engine
    """
    from fcn_edge import build
    from fcn_edge.engines.trt import PlanOptions

    plan = PlanOptions(
        sm_from_text(sm),
        workspace_mb,
        optimisation_level,
        shapes_from_text(min_shapes, opt_shapes, max_shapes),
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,  # type: ignore[arg-type]
        sparsity=sparsity,
    )
    with progress_bar() as progress:
        manifest = build.build_engine(
            model,
            out,
            target=target,
            precision=precision,
            calib=calib,
            calib_images=calib_images,
            method=method,
            placement=placement,
            data=data,
            max_miou_drop=max_miou_drop,
            plan=plan,
            threads=threads,
            allow_overlap=allow_overlap,
            spec=spec,
            recipe=recipe,
            progress=progress,
        )
    emit(_summary(manifest), as_json=json, human=lambda: _print_build(manifest))


def _summary(manifest: Manifest) -> dict[str, Any]:
    """What other programs read of a build."""
    return {
        "engine": str(manifest.path),
        "manifest": str(manifest.path / "manifest.json"),
        "target": manifest.target,
        "precision": manifest.precision,
        "execution": manifest.execution,
        "miou": manifest.miou,
        "miou_reference": manifest.miou_reference,
        "miou_drop": manifest.drop,
        "kept_float": list(manifest.kept_float),
        "seconds": round(manifest.seconds or 0.0, 2),
    }


def _print_build(manifest: Manifest) -> None:
    """The manifest in a few lines for people."""
    built = f"executed in {manifest.execution}, built in {manifest.seconds or 0.0:.1f} s"
    print(f"{manifest.path}: {manifest.runtime}, {manifest.precision}, {built}")
    if manifest.layer_report is not None:
        _print_plan(manifest.layer_report)
    elif counts := Counter((layer.op, layer.precision) for layer in manifest.layers):
        print("  layers: " + ", ".join(f"{n} {op} {kind}" for (op, kind), n in counts.most_common()))
    if manifest.kept_float:
        print(f"  kept in float: {', '.join(manifest.kept_float)}")
    for name, reason in manifest.kept_fp32.items():
        show(f"  kept in FP32: {name}: {reason}")
    for sentence in manifest.calibration:
        show(f"  calibration: {sentence}")
    for warning in manifest.warnings:
        show(f"  warning: {warning}")
    show(f"  mIoU: {_miou_words(manifest)}")
    if check := manifest.reference:
        ratio = "" if check.sqnr_db is None else f"{check.sqnr_db:.1f} dB, "
        equal = f"{100 * check.agreement:.2f} % equal pixels"
        print(f"  compared with the reference run: {ratio}{equal}, {check.images} images")
    for tool, line in (manifest.trtexec or {}).items():
        print(f"  {tool}: {line}")


def _print_plan(report: LayerReport) -> None:
    """The plan as the TensorRT compiler reports it."""
    size = f"{report.plan_bytes / 1e6:.1f} MB"
    if report.fp32_plan_bytes:
        size += f" (the fp32 plan: {report.fp32_plan_bytes / 1e6:.1f} MB)"
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.kinds.items())
    print(f"  plan: {size}" + (f"; kernels: {kinds}" if kinds else ""))
    if report.convolutions_int8 is not None:
        print(
            f"  of them {report.convolutions_int8} INT8 and {report.convolutions_float} float convolutions,"
            f" {report.pointwise} pointwise kernels not fused ({report.requantizing} only quantize again),"
            f" {report.depthwise_padded} convolutions expanded"
        )


def _miou_words(manifest: Manifest) -> str:
    if manifest.miou is None:
        return str(manifest.miou_note)
    reached = f"{100 * manifest.miou:.2f}"
    note = f", {manifest.miou_note}" if manifest.miou_note else ""
    if manifest.drop is None or manifest.miou_reference is None:
        return f"{reached} (no fp32 file to compare with{note})"
    if manifest.interval:
        low, high = manifest.interval
        note = f", drop {low:+.2f} to {high:+.2f} with 95 % confidence{note}"
    side = "below" if manifest.drop >= 0 else "above"
    return f"{reached} ({abs(manifest.drop):.2f} points {side} fp32's {100 * manifest.miou_reference:.2f}{note})"
