"""Real TensorRT-RTX plans, compiled on this CPU: what the compiler makes of whole networks, in each precision.

    python benchmarks/rtx_plans.py --files out/rtx
    python benchmarks/rtx_plans.py --files out/rtx --out docs/benchmarks

The first makes the ONNX files (minutes), the second compiles what is there (seconds, on an idle machine), and
writes tensorrt.json and its table into tensorrt.md. Two networks have published widths and random weights: which
kernels are taken does not depend on the weights. Nothing is run, and no time of a GPU is known here; the build
time is this CPU's.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fcn_edge.atomic_io import whole_file, write_json
from fcn_edge.calibration import images_from_source, table_from_images
from fcn_edge.calibration.quantized import quantized_file
from fcn_edge.data import class_set
from fcn_edge.device import this_device
from fcn_edge.engines import model_path
from fcn_edge.engines.trt import PlanOptions, plan_from_onnx
from fcn_edge.exporting import export
from fcn_edge.models.checkpoint import header_from_recipe, network_from_recipe, save_checkpoint
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.registry import PACKAGED_NETWORK, recipe_from_shelf

RANDOM_WEIGHTS = ("fcn8s_vgg16_voc", "fcn_resnet50_voc")
SIZE = (256, 256)  # of these two: the plan's size is that of its weights, and calibrating takes a CPU its time
PRECISIONS = (("fp32", None), ("fp16", None), ("int8", "any"), ("int8", "nvidia"), ("int8-fp16", "any"))
SM = 86
TABLE = re.compile(r"(<!-- rtx_plans -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True, help="folder of the ONNX files")
    parser.add_argument("--out", type=Path, help="folder of tensorrt.md; without it the files are made")
    given = parser.parse_args()
    if given.out is None:
        make_files(given.files)
        return
    rows = []
    for name in (PACKAGED_NETWORK, *RANDOM_WEIGHTS):
        for precision, placement in precisions_of(name):
            rows.append(row_of_plan(name, given.files / file_name(name, precision, placement), placement))
            print(line(rows[-1]), flush=True)
    record = {"schema": 1, "device": this_device().cpu, "runtime": rows[0]["runtime"], "sm": SM, "rows": rows}
    write_json(given.out / "tensorrt.json", record)
    write_table(given.out / "tensorrt.md", record)


def precisions_of(name: str) -> list[tuple[str, str | None]]:
    """(precision, placement); nvidia differs from any where convolutions are depthwise, as in the packaged one."""
    return [pair for pair in PRECISIONS if pair[1] != "nvidia" or name == PACKAGED_NETWORK]


def file_name(name: str, precision: str, placement: str | None) -> str:
    return ".".join(filter(None, [name, precision, placement, "onnx"]))


def make_files(folder: Path) -> None:
    """Every network in every precision; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, fp32 in networks(folder):
        height, width = contract_from_onnx(fp32).spec.preprocess.size
        table = None
        for precision, placement in precisions_of(name):
            file = folder / file_name(name, precision, placement)
            if file.exists():
                continue
            if precision == "fp32":
                shutil.copy(fp32, file)
                continue
            if placement and table is None:
                images = images_from_source(f"synthetic:street,seed=2,images=2,size={height}x{width}")
                table = table_from_images(fp32, images)
            scales = table if placement else None
            quantized_file(fp32, file, precision=precision, table=scales, placement=placement or "any")  # type: ignore[arg-type]
            print(file, flush=True)


def networks(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, fp32 file) of each."""
    yield PACKAGED_NETWORK, model_path(None)
    for name in RANDOM_WEIGHTS:
        made = folder / file_name(name, "fp32", None)
        if made.exists():
            yield name, made
            continue
        recipe = recipe_from_shelf(name)
        recipe = replace(recipe, input=replace(recipe.input, height=SIZE[0], width=SIZE[1]))
        torch.manual_seed(0)
        classes = class_set(recipe.network.classes)
        network = network_from_recipe(recipe.network, len(classes.classes)).eval()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
        checkpoint = folder / f"{name}.safetensors"
        save_checkpoint(checkpoint, network, header_from_recipe(recipe, *classes))
        del network
        yield name, export(checkpoint, made).path
        checkpoint.unlink()


def row_of_plan(name: str, file: Path, placement: str | None) -> dict[str, Any]:
    """What the compiler makes of a file; it refuses INT8 that would not be INT8 in every quantized convolution."""
    contract, model = contract_from_onnx(file), onnx_from_file(file)
    height, width = contract.spec.preprocess.size
    plan = plan_from_onnx(file, target="tensorrt-rtx", options=PlanOptions(sm=(SM,)))
    return {
        "network": name,
        "height": height,
        "width": width,
        "precision": contract.quantization.precision,
        "placement": placement,
        "convolutions": sum(node.op_type == "Conv" for node in model.graph.node),
        "plan_bytes": len(plan.data),
        "build_seconds": round(plan.seconds, 2),
        "runtime": plan.runtime,
        "kinds": plan.kinds,
        **plan.counts,
        "warnings": list(plan.warnings),
        "layers": [[layer.name, layer.precision] for layer in plan.layers],
    }


def line(row: dict[str, Any]) -> str:
    """The row as one of the table in tensorrt.md."""
    placement = f" ({row['placement']})" if row["placement"] not in (None, "any") else ""
    words = [
        f"{row['network']} {row['height']}x{row['width']}",
        row["precision"] + placement,
        f"{row['convolutions_int8']} / {row['convolutions_float']}",
        str(row["pointwise"]),
        str(row["requantizing"]),
        str(row["depthwise_padded"]),
        f"{row['plan_bytes'] / 1e6:.1f}",
        f"{row['build_seconds']:.1f}",
    ]
    return f"| {' | '.join(words)} |"


def write_table(page: Path, record: dict[str, Any]) -> None:
    head = [
        "| network | precision | convolutions INT8 / float | pointwise kernels | of them quantize again"
        " | convolutions expanded | plan, MB | build, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    command = "python benchmarks/rtx_plans.py --files out/rtx --out docs/benchmarks"
    told = f"`{command}` with {record['runtime']} for SM 8.6; build time on one {record['device']}."
    table = "\n".join([*head, *(line(row) for row in record["rows"]), "", told, ""])
    text = page.read_text(encoding="utf-8")
    if not TABLE.search(text):
        raise SystemExit(f"{page}: has no place for the table (<!-- rtx_plans --> and <!-- end -->)")
    with whole_file(page, replaces=True) as part:
        part.write_text(TABLE.sub(lambda match: match[1] + table + match[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
