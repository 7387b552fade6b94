"""What `train`, `calibrate` and `build-engine` ask and say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn_edge.engines import CHECKPOINT_SUFFIXES, Target, available_targets
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError
from fcn_edge.onnxfile import contract_from_onnx

if TYPE_CHECKING:
    from fcn_edge.build import Built
    from fcn_edge.exporting.padding import PaddingPrice


def chosen_target(name: str) -> Target:
    """The target of that name; "auto" is the first that can build *and run* here.

    TensorRT-RTX compiles on any machine but runs only on an RTX GPU, so "auto" passes it by
    where there is none.
    """
    if name != "auto":
        return name  # type: ignore[return-value]
    for target in available_targets():
        if target in ("openvino", "onnxruntime") or (target == "tensorrt" and _builds(target)):
            return target
    raise BackendMissing("no engine is installed; pip install 'fcn-edge[cpu]' or 'fcn-edge[gpu]'")


def _builds(target: Target) -> bool:
    from fcn_edge.engines.trt import require_target

    try:
        require_target(target)  # type: ignore[arg-type]
    except FcnEdgeError:
        return False
    return True


def require_fp32(path: Path) -> None:
    """Raises BadInput where `path` is not an fp32 ONNX file, which alone can be calibrated."""
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise BadInput(f"{path}: a checkpoint; export it first, or do both with build-engine --precision int8")
    held = contract_from_onnx(path).quantization.precision
    if held != "fp32":
        raise BadInput(f"{path}: is {held} already; calibrate the fp32 file")


def describe_training(result: dict[str, Any]) -> None:
    """What `train` made, in a few lines for people."""
    epochs, before = result["epochs"], result["resumed_after"]
    if before == epochs:
        print(f"nothing left to train: all {epochs} epochs were done before")
    elif before:
        print(f"went on after epoch {before} of {epochs}")
    kept = "the last" if result["best_miou"] is None else f"best mIoU {100 * result['best_miou']:.1f}"
    print(f"{result['checkpoint']}: {kept} of {epochs} epochs")


def describe_calibration(result: dict[str, Any]) -> None:
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
        print(f"  {sentence}")
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


def describe_build(built: Built) -> None:
    """The manifest in a few lines for people."""
    manifest = built.manifest
    execution = f"executed in {manifest['execution']}"
    print(f"{built.path}: {manifest['runtime']}, {manifest['precision']}, {execution}, built in {built.seconds:.1f} s")
    if manifest["story"]:
        describe_plan(manifest["story"])
    elif counts := Counter((layer["op"], layer["precision"]) for layer in manifest["layers"]):
        print("  layers: " + ", ".join(f"{n} {op} {kind}" for (op, kind), n in counts.most_common()))
    if manifest["kept_float"]:
        print(f"  kept in float: {', '.join(manifest['kept_float'])}")
    for name, reason in manifest["kept_fp32"].items():
        print(f"  kept in FP32: {name}: {reason}")
    for sentence in manifest["calibration"]:
        print(f"  calibration: {sentence}")
    for warning in manifest["warnings"]:
        print(f"  warning: {warning}")
    print(f"  mIoU: {_miou_words(manifest)}")
    held = manifest["reference"]
    if held:
        ratio = "" if held["sqnr_db"] is None else f"{held['sqnr_db']:.1f} dB, "
        print(
            f"  against the reference run: {ratio}{100 * held['agreement']:.2f} % equal pixels, {held['images']} images"
        )
    if manifest["trtexec"]:
        for tool, line in manifest["trtexec"].items():
            print(f"  {tool}: {line}")


def describe_plan(story: dict[str, Any]) -> None:
    """What the TensorRT compiler made of the file, by its own account."""
    size = f"{story['plan_bytes'] / 1e6:.1f} MB"
    if story["fp32_plan_bytes"]:
        size += f" (the fp32 plan: {story['fp32_plan_bytes'] / 1e6:.1f} MB)"
    kinds = ", ".join(f"{count} {kind}" for kind, count in story["kinds"].items())
    print(f"  plan: {size}" + (f"; kernels: {kinds}" if kinds else ""))
    if "convolutions_int8" in story:
        print(
            f"  of them {story['convolutions_int8']} INT8 and {story['convolutions_float']} float convolutions,"
            f" {story['pointwise']} pointwise kernels not fused ({story['requantizing']} only quantize again),"
            f" {story['depthwise_padded']} convolutions expanded"
        )


def _miou_words(manifest: dict[str, Any]) -> str:
    if manifest["miou"] is None:
        return str(manifest["miou_note"])
    reached = f"{100 * manifest['miou']:.2f}"
    note = f", {manifest['miou_note']}" if manifest["miou_note"] else ""
    if manifest["drop"] is None:
        return f"{reached} (no fp32 file to compare with{note})"
    if manifest["interval"]:
        note = ", drop {:+.2f} to {:+.2f} with 95 % confidence".format(*manifest["interval"]) + note
    side = "below" if manifest["drop"] >= 0 else "above"
    return f"{reached} ({abs(manifest['drop']):.2f} points {side} fp32's {100 * manifest['miou_reference']:.2f}{note})"


def describe_padding(price: PaddingPrice | None, out: str) -> None:
    """What same padding costs, in points, or that nobody knows."""
    if price is None:
        print(f"{out}: padded otherwise than it was trained; what that costs is unknown: give --data SET to measure it")
        return
    interval = "no interval, the images are too few"
    if price.interval is not None:
        interval = f"95 % interval {100 * price.interval[0]:+.2f} to {100 * price.interval[1]:+.2f}"
    print(
        f"mean IU on {price.data}, {price.images} images: {100 * price.miou_original:.2f} with the border of 100,"
        f" {100 * price.miou:.2f} with same padding: {100 * price.difference:+.2f} points ({interval})"
    )
