"""What a training leaves behind beside its weights: a record, and its curves as a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import whole_file, write_json
from fcn_edge.outputs import MARK


def files_of_training(out: Path) -> tuple[Path, ...]:
    """What a training writes under the name `out`, its state left out."""
    return out, out.with_name(f"{out.name}.record.json"), out.with_name(f"{out.name}.record.png")


def write_record(record: dict[str, Any], out: Path) -> None:
    """Write `out.record.json` and, where matplotlib is installed, `out.record.png`."""
    _, facts, curves = files_of_training(out)
    write_json(facts, record)
    if find_spec("matplotlib") is not None:
        _draw_curves(record, curves)


def _draw_curves(record: dict[str, Any], path: Path) -> None:
    """Loss and, where there is a validation set, its mIoU by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    epochs = record["epochs"]
    numbers = [entry["epoch"] for entry in epochs]
    figure, losses = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    losses.plot(numbers, [entry["loss"] for entry in epochs], color="tab:gray", marker=".", label="loss (training)")
    losses.set(xlabel="epoch", ylabel="loss", title=record["recipe"]["title"] or record["recipe"]["name"])
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.set_ylim(bottom=0)
    lines = list(losses.lines)
    if record["validation"]:
        points = losses.twinx()
        mious = [100 * entry["miou"] for entry in epochs]
        points.plot(numbers, mious, color="tab:blue", marker=".", label=f"mIoU ({record['validation']})")
        points.set_ylabel("mIoU, points")
        lines += points.lines
    losses.grid(alpha=0.3)
    losses.legend(handles=lines, loc="center right")
    figure.tight_layout()
    with whole_file(path) as part:
        figure.savefig(part, format="png", metadata={"Comment": MARK})
    pyplot.close(figure)
