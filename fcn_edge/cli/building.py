"""What `build-engine` asks and says."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fcn_edge.engines import Target, available_targets
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError

if TYPE_CHECKING:
    from fcn_edge.build import Built


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


def sm_from_text(text: str | None) -> tuple[int, ...]:
    """Compute capabilities from "86,89". Raises BadInput."""
    if text is None:
        return ()
    parts = [part.strip().replace(".", "") for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise BadInput(f"--sm {text}: write capabilities like 86,89,120")
    return tuple(int(part) for part in parts)


def describe_build(built: Built) -> None:
    """The manifest in a few lines for people."""
    manifest = built.manifest
    print(
        f"{built.path}: {manifest['runtime']}, {manifest['precision']}, {manifest['execution']}, {built.seconds:.1f} s"
    )
    counts = Counter((layer["op"], layer["precision"]) for layer in manifest["layers"])
    if counts:
        print("  layers: " + ", ".join(f"{n} {op} {kind}" for (op, kind), n in counts.most_common()))
    if manifest["kept_float"]:
        print(f"  kept in float: {', '.join(manifest['kept_float'])}")
    for warning in manifest["warnings"]:
        print(f"  warning: {warning}")
    if manifest["miou"] is None:
        print(f"  mIoU: {manifest['miou_note']}")
    else:
        reference, drop = 100 * manifest["miou_reference"], manifest["drop"]
        print(f"  mIoU: {100 * manifest['miou']:.2f} ({drop:+.2f} points lost against fp32's {reference:.2f})")
    if manifest["trtexec"]:
        for tool, line in manifest["trtexec"].items():
            print(f"  {tool}: {line}")
