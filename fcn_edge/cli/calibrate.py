"""The verb `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn_edge.choices import PlacementName
from fcn_edge.cli._app import verb
from fcn_edge.cli._options import (
    AllowOverlapOption,
    CalibImagesOption,
    JsonOption,
    MethodOption,
    ModelArgument,
    RecipeOption,
    SpecOption,
)
from fcn_edge.cli._parse import require_suffix
from fcn_edge.cli._print import emit, progress_bar, show

if TYPE_CHECKING:
    from fcn_edge.calibration.quantized import Calibrated
    from fcn_edge.calibration.table import CalibrationTable


@verb
def calibrate(
    model: ModelArgument = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="INT8 ONNX file to write.")],
    images: Annotated[
        str, typer.Option("--calib", help="Calibration images: folder, glob, video, data set, TOML or table.")
    ],
    method: MethodOption = None,
    count: CalibImagesOption = None,
    placement: Annotated[PlacementName, typer.Option("--placement", help="Rules for Q/DQ placement.")] = "any",
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled data set that may not hold any of the calibration images.")
    ] = None,
    allow_overlap: AllowOverlapOption = False,
    verify: Annotated[
        str | None, typer.Option("--verify", help="Images to compare with the hashes in the table of --calib.")
    ] = None,
    save_set: Annotated[
        Path | None, typer.Option("--save-set", help="Also write a TOML file that selects the same images again.")
    ] = None,
    dla_cache: Annotated[
        Path | None, typer.Option("--dla-cache", help="Also write a TensorRT calibration cache for DLA.")
    ] = None,
    dla_tensorrt: Annotated[
        str, typer.Option("--dla-tensorrt", help="TensorRT version that reads the cache.")
    ] = "10.3.0",
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Quantize an ONNX file to INT8 (Q/DQ) with real images.

    Writes the INT8 file and its calibration table (OUT.table.json), and reports which classes the images show,
    the quantization error of each tensor, and whether more images would still change the scales. A table holds
    hashes of the network, its preprocessing and every image, and is refused for any other.

    MODEL is an fp32 ONNX file or a checkpoint, which is exported first.

    \b
    Examples:
      fcn-edge calibrate net.onnx --calib camvid:camvid#train --data camvid:camvid#val --out net.int8.onnx
      fcn-edge calibrate net.onnx --calib images/ --images 200 --method mse --save-set set.toml --out net.int8.onnx
      fcn-edge calibrate net.onnx --calib net.int8.table.json --verify set.toml --out again.int8.onnx
      fcn-edge calibrate net.onnx --calib images/ --out net.int8.onnx --dla-cache net.dla.cache
    """
    from fcn_edge import calibration
    from fcn_edge.calibration.dla import tensorrt_number
    from fcn_edge.engines import model_path
    from fcn_edge.outputs import require_apart, require_outputs

    require_suffix(out, ".onnx", "an ONNX file")
    if save_set is not None:
        require_suffix(save_set, ".toml", "a calibration set", option="--save-set")
    if dla_cache is not None:
        tensorrt_number(dla_tensorrt)  # before minutes of calibrating
    read: list[Path | str | None] = [model_path(model), images, verify, spec, data]
    require_outputs([save_set], read)
    written = (out, out.with_suffix(".table.json"), save_set, dla_cache)
    require_apart([path for path in written if path is not None], read)
    with progress_bar() as progress:
        calibrated = calibration.calibrate(
            model,
            images,
            out,
            method=method,
            count=count,
            placement=placement,
            data=data,
            allow_overlap=allow_overlap,
            verify=verify,
            spec=spec,
            recipe=recipe,
            progress=progress,
        )
    result = _result(calibrated, out) | {"dla": _write_for_dla(calibrated, dla_cache, dla_tensorrt)}
    if save_set is not None:
        _write_set(calibrated, save_set)
    emit(result, as_json=json, human=lambda: _print_calibration(result))


def _result(calibrated: Calibrated, out: Path) -> dict[str, Any]:
    """What other programs read of a calibration."""
    from fcn_edge.schema import to_mapping

    table = _table_of(calibrated)
    return {
        "onnx": str(out),
        "table": str(calibrated.table_path),
        "tensors": len(table.tensors),
        "method": table.method,
        "images": len(table.images_sha256),
        "skipped": list(table.skipped),
        "placement": calibrated.quantization.placement,
        "kept_float": list(calibrated.quantization.kept_float),
        "coverage": to_mapping(calibrated.coverage),
    }


def _write_set(calibrated: Calibrated, save_set: Path) -> None:
    from fcn_edge.calibration.images import save_recipe

    table = _table_of(calibrated)
    save_recipe(save_set, table.source, table.hashes)


def _write_for_dla(calibrated: Calibrated, cache: Path | None, tensorrt: str) -> dict[str, Any] | None:
    """The cache, and trtexec's command line that reads it."""
    from fcn_edge.calibration.dla import dla_line, write_dla_cache

    if cache is None:
        return None
    tensors = write_dla_cache(_table_of(calibrated), cache, tensorrt=tensorrt)
    return {"cache": str(cache), "tensors": tensors, "trtexec": dla_line(cache)}


def _table_of(calibrated: Calibrated) -> CalibrationTable:
    assert calibrated.table is not None  # None only of fp16 files
    return calibrated.table


def _print_calibration(result: dict[str, Any]) -> None:
    """What `calibrate` made, and what its images cover, in a few lines for people."""
    print(f"{result['onnx']}: {result['tensors']} tensors quantized from {result['images']} images")
    print(f"  table: {result['table']}, method {result['method']}, placement {result['placement']}")
    if result["kept_float"]:
        print(f"  kept in float: {', '.join(result['kept_float'])}")
    if result["skipped"]:
        print(f"  skipped, {len(result['skipped'])} that cannot be read: {', '.join(result['skipped'])}")
    if dla := result["dla"]:
        print(f"  for DLA: {dla['cache']}, {dla['tensors']} tensors; not from the Q/DQ file: {dla['trtexec']}")
    coverage = result["coverage"]
    for sentence in coverage["verdict"]:
        show(f"  {sentence}")
    print("  hardest tensors:")
    for name in coverage["worst"]:
        print(f"    {name}: {_tensor_words(coverage['tensors'][name])}")


def _tensor_words(tensor: dict[str, Any]) -> str:
    words = [f"{tensor['sqnr_db']:.1f} dB", f"{tensor['clipped']:.2%} clipped", f"{tensor['saturated']:.2%} saturated"]
    if tensor["channels"]:
        dead, outliers = len(tensor["dead"]), len(tensor["outliers"])
        words.append(f"{dead} dead and {outliers} outlying of {tensor['channels']} channels")
    if tensor["moved"] is not None:
        words.append(f"halves differ by {tensor['moved']:.0%}")
    return ", ".join(words)
