"""Networks of segmentation_models_pytorch, torchvision and transformers, by both PyTorch exporters, on each engine.

    pip install -e '.[cpu,interop]'
    python -m benchmarks.interop --out record.json
    python -m benchmarks.interop --out record.json --family MAnet     # those whose name has it, measured again
    python -m benchmarks.interop --out record.json --quick            # only what exporters write by default
    cp record.json benchmarks/interop.<device>.json && python benchmarks/tables.py

Each file goes through the contract as a user's would, with a spec beside it. In fp32 the class maps of each engine are
compared with those of a plain ONNX Runtime loop on the exporter's own file. In INT8, once for each network, calibrated
on synthetic streets, `build-engine` accepts or refuses each engine; SQNR and equal pixels are measured either way. A
record that was begun goes on with the families that it lacks; progress is on stderr, a table on stdout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.interop_networks import (
    CLASSES,
    EXPORTERS,
    FAMILIES,
    MEAN,
    STD,
    VARIANTS,
    Exported,
    Exporter,
    Family,
    Variant,
    exported,
    network_input,
    network_of,
)
from benchmarks.tables import interop_fp32_table, interop_int8_table
from fcn_edge.atomic_io import read_json, write_json
from fcn_edge.build import build_engine
from fcn_edge.calibration import CalibrationTable, images_from_source, quantized_file, table_from_images
from fcn_edge.calibration.placement import placement_for, quantizable_convolutions
from fcn_edge.data import dataset_from_name
from fcn_edge.device import git_commit, this_device
from fcn_edge.engines import Engine, EngineOptions, Target, engine_on_target
from fcn_edge.engines.base import Place
from fcn_edge.engines.reference_check import Agreement, agreement_of
from fcn_edge.errors import FcnEdgeError
from fcn_edge.exporting import onnx_model
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file

TARGETS: tuple[Target, ...] = ("onnxruntime", "openvino")
CALIBRATION, COMPARED = "synthetic:street,seed=2,images=8", "synthetic:street,seed=1,images=4"
PACKAGES = (
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "transformers",
    "onnxscript",
    "onnx",
    "onnxruntime",
    "openvino",
)
WORDS = 400  # of a message that is kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the record; what it holds already is kept")
    parser.add_argument("--family", help="measure those whose name contains this, even if the record has them")
    parser.add_argument("--quick", action="store_true", help="no other opsets and no free sizes")
    given = parser.parse_args()
    record = read_json(given.out) if given.out.exists() else new_record()
    for family in chosen(record, given.family):
        started = time.monotonic()
        variants = VARIANTS[:1] if given.quick else VARIANTS
        row = row_of_family(family, variants=variants, on_step=progress)
        others = [each for each in record["rows"] if each["family"] != family.name]
        record["rows"] = sorted([*others, row], key=lambda each: [f.name for f in FAMILIES].index(each["family"]))
        write_json(given.out, record)
        progress(f"{family.name}: {time.monotonic() - started:.0f} s")
    print("\n".join([*interop_fp32_table(record), "", *interop_int8_table(record)]))


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def new_record() -> dict[str, Any]:
    device = this_device()
    return {
        "schema": 1,
        "device": device.name,
        "instruction_sets": list(device.instruction_sets),
        "versions": {name: version_of(name) for name in PACKAGES},
        "calibration": CALIBRATION,
        "compared": COMPARED,
        "classes": CLASSES,
        "rows": [],
    }


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def chosen(record: dict[str, Any], part: str | None) -> list[Family]:
    """Installed families that the record lacks, or those whose name contains `part`."""
    known = {row["family"] for row in record["rows"]}
    wanted = [family for family in FAMILIES if (family.name not in known if part is None else part in family.name)]
    for family in wanted:
        if not family.is_installed:
            progress(f"{family.name}: left out, {family.package} is not installed")
    return [family for family in wanted if family.is_installed]


def row_of_family(
    family: Family,
    *,
    exporters: Sequence[Exporter] = EXPORTERS,
    variants: Sequence[Variant] = VARIANTS,
    on_step: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Export and measure one family. INT8 is made of the first file that an exporter writes by default."""
    network = network_of(family, pictures(CALIBRATION, family.size))
    row: dict[str, Any] = {
        "family": family.name,
        "commit": git_commit(),
        "size": list(family.size),
        "parameters_m": round(sum(weights.numel() for weights in network.parameters()) / 1e6, 2),
        "files": [],
    }
    for exporter in exporters:
        for variant in variants:
            on_step(f"{family.name}: {exporter}, {variant}")
            with tempfile.TemporaryDirectory() as folder:
                entry: dict[str, Any] = {"exporter": exporter, "variant": variant}
                try:
                    file = exported(network, family, exporter, variant, Path(folder))
                except Exception as error:  # the exporter's own; not a fault of what is measured here
                    entry["exporter_error"] = words(error, Path(folder))
                else:
                    with_int8 = variant == "default" and not any("int8" in each for each in row["files"])
                    entry |= measured_file(file, family, with_int8, Path(folder))
                row["files"].append(entry)
    return row


def pictures(source: str, size: tuple[int, int]) -> list[np.ndarray]:
    data = dataset_from_name(f"{source},size={size[0]}x{size[1]}")
    return [data.items[index].image() for index in range(len(data.items))]


def words(error: BaseException, folder: Path) -> str:
    """The first line of a message without the folder that its files were in; the type where it is no error of ours."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].replace(f"{folder}/", "")[:WORDS]
    return text if isinstance(error, FcnEdgeError) else f"{type(error).__name__}: {text}"


def measured_file(file: Exported, family: Family, with_int8: bool, folder: Path) -> dict[str, Any]:
    """What the contract and each engine make of an exported file. "error" and "refused" hold words, else None."""
    entry: dict[str, Any] = {"opset": file.opset, "nodes": len(onnx_from_file(file.path).graph.node)}
    try:
        contract = onnx_model(file.path, spec=spec_beside(file.path, family)).save(folder / "contract.onnx").path
    except Exception as error:
        return entry | {"refused": words(error, folder), "is_ours": isinstance(error, FcnEdgeError)}
    compared = pictures(COMPARED, family.size)
    wanted = plain_class_maps(file.path, family, compared)
    entry |= {
        "refused": None,
        "head": contract_from_onnx(contract).spec.head.kind,
        "classes_seen": len(np.unique(np.stack(wanted))),
    }
    entry["fp32"] = {target: fp32_on(target, contract, compared, wanted) for target in TARGETS}
    if with_int8:
        entry["int8"] = int8_of(contract, family, compared, folder)
    return entry


def spec_beside(file: Path, family: Family) -> Path:
    """The TOML that a user would write."""
    names = ", ".join(f'"c{number}"' for number in range(CLASSES))
    lines = [f"classes = [{names}]", f"mean = {list(MEAN)}", f"std = {list(STD)}"]
    lines += [f"height = {family.size[0]}", f"width = {family.size[1]}"]
    lines += [f'output = "{family.output}"'] if family.output else []
    path = file.with_suffix(".toml")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def plain_class_maps(file: Path, family: Family, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Class maps of the exporter's file as a loop of a user's own gives them; nothing of the product takes part."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    name = family.output or names[0]
    return [enlarged(session.run([name], {"image": network_input(image)})[0][0], image).argmax(0) for image in images]


def enlarged(scores: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(C, H, W) at the picture's size, bilinear with half-pixel centres."""
    height, width = image.shape[:2]
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in scores])


def fp32_on(
    target: Target, contract: Path, images: Sequence[np.ndarray], wanted: Sequence[np.ndarray]
) -> dict[str, Any]:
    try:
        with engine_on_target(contract, target, EngineOptions()) as engine:
            shares = [float((engine.segment(image).class_map == y).mean()) for image, y in zip(images, wanted)]
    except Exception as error:
        return {"error": words(error, contract.parent), "is_ours": isinstance(error, FcnEdgeError)}
    return {"agreement": rounded(np.mean(shares)), "worst": rounded(min(shares))}


def rounded(share: float) -> float:
    return round(float(share), 6)


def int8_of(contract: Path, family: Family, images: Sequence[np.ndarray], folder: Path) -> dict[str, Any]:
    """INT8 by one table on every engine."""
    source = f"{CALIBRATION},size={family.size[0]}x{family.size[1]}"
    try:
        table = table_from_images(contract, images_from_source(source))
        table.save(folder / "table.json")
    except Exception as error:
        return {"error": words(error, folder), "is_ours": isinstance(error, FcnEdgeError)}
    return {target: int8_on(target, contract, table, images, folder / target) for target in TARGETS}


def int8_on(
    target: Target, contract: Path, table: CalibrationTable, images: Sequence[np.ndarray], out: Path
) -> dict[str, Any]:
    """The verdict of `build_engine`, and what was measured whatever it said."""
    entry: dict[str, Any] = {"refused": None}
    calib = contract.parent / "table.json"
    try:
        build_engine(contract, out, target=target, precision="int8", calib=calib)  # type: ignore[arg-type]
        file = out / "model.onnx"
    except Exception as error:
        entry = {"refused": words(error, contract.parent), "is_ours": isinstance(error, FcnEdgeError)}
        file = contract.parent / f"{target}.int8.onnx"
    try:
        if entry["refused"]:
            placement = placement_for(target, this_device())
            quantized_file(contract, file, precision="int8", table=table, placement=placement)
        return entry | int8_figures(target, file, contract, images)
    except Exception as error:
        return entry | {"error": words(error, contract.parent)}


def int8_figures(target: Target, file: Path, contract: Path, images: Sequence[np.ndarray]) -> dict[str, Any]:
    """file: the INT8 file's reference run against fp32's. engine: the engine against the file's reference run.

    whole: the engine against fp32's reference run. convolutions: in INT8, and all that have stored weights.
    """
    opened: list[tuple[Path, Target]] = [(contract, "reference"), (file, "reference"), (file, target)]
    with ExitStack() as stack:
        fp32, reference, engine = (
            Recorded(stack.enter_context(engine_on_target(*one, EngineOptions()))) for one in opened
        )
        compared = {"file": (reference, fp32), "engine": (engine, reference), "whole": (engine, fp32)}
        figures: dict[str, Any] = {name: brief(agreement_of(*pair, images)) for name, pair in compared.items()}
        count = int8_convolutions(engine.engine)
    return figures | {"convolutions": [count, len(quantizable_convolutions(onnx_from_file(contract).graph))]}


class Recorded(Engine):
    """An engine that runs each input once, however often it is compared."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.spec, precision=engine.precision, execution=engine.execution, path=engine.path)
        self.engine, self.outputs = engine, dict[bytes, np.ndarray]()

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        key = x.tobytes()
        if key not in self.outputs:
            self.outputs[key] = self.engine.infer(x)
        return self.outputs[key]


def brief(near: Agreement) -> list[float | None]:
    """[SQNR in dB, share of equal pixels]."""
    return [None if near.sqnr_db is None else round(near.sqnr_db, 2), rounded(near.agreement)]


def int8_convolutions(engine: Engine) -> int:
    """How many convolutions run on integers, as the engine's compiled graph has them."""
    if engine.target == "openvino":
        return sum("Convolution" in layer.op and layer.precision in ("i8", "u8") for layer in engine.layers())
    kinds = optimised_kinds(engine.path)
    return kinds["QLinearConv"] + kinds["ConvInteger"]


def optimised_kinds(file: Path) -> Counter[str]:
    """How often each operator is in the graph that ONNX Runtime makes of a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(file.with_suffix(".optimised.onnx"))
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx_from_file(file.with_suffix(".optimised.onnx")).graph.node)


if __name__ == "__main__":
    main()
