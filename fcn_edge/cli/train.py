"""The verb `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._parse import require_suffix
from fcn_edge.cli._print import emit, progress_bar, say
from fcn_edge.outputs import require_apart


@verb
def train(
    recipe: Annotated[str, typer.Argument(help="A name of the export shelf, or a TOML file of your own.")],
    data: Annotated[str, typer.Option("--data", help="Training set, such as camvid:DIR#train.")],
    out: Annotated[Path, typer.Option("--out", help="Checkpoint to write (.safetensors).")],
    val: Annotated[str | None, typer.Option("--val", help="Keep the best on this set; else the last.")] = None,
    supplement: Annotated[str | None, typer.Option("--supplement", help="Synthetic set that is mixed in.")] = None,
    backgrounds: Annotated[
        list[str] | None, typer.Option("--backgrounds", help="Set behind the figures of composed scenes (repeatable).")
    ] = None,
    backbone: Annotated[Path | None, typer.Option("--backbone", help="ImageNet weights of the backbone.")] = None,
    start: Annotated[Path | None, typer.Option("--start", help="Checkpoint to begin with, as 16s with 32s.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the recipe's.")] = None,
    json: JsonOption = False,
) -> None:
    """Fine-tune by a recipe, resumable, best checkpoint kept.

    Stopped or killed, the same command goes on after the last whole epoch. Beside the checkpoint
    stand its record (.record.json), its curves (.record.png) and the state that a run goes on from
    (.state). Neighbouring frames of a drive are alike: judge a recipe by a drive it never saw,
    then train it on all.

    \b
    Examples:
      fcn-edge train fcn4s_lite0_camvid --data camvid:camvid#train --val camvid:camvid#val \\
        --out net.safetensors
      fcn-edge train fcn4s_lite0_camvid --data camvid:camvid#train,without=0006R0 \\
        --val camvid:camvid#train,only=0006R0 --out unseen.safetensors
      fcn-edge train fcn4s_lite0_person --data folder:portraits#train --val folder:portraits#val \\
        --backgrounds camvid:camvid#train --out person.safetensors
      fcn-edge train fcn16s_vgg16_voc --data voc:VOC2012#train --val voc:VOC2012#val \\
        --start fcn32s.safetensors --out fcn16s.safetensors
    """
    from dataclasses import replace

    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines import require_package
    from fcn_edge.registry import recipe_from_shelf

    chosen = recipe_from_shelf(recipe)
    require_suffix(out, ".safetensors", "a checkpoint")
    require_apart([out], [start, backbone])
    require_package("pytorch")
    from fcn_edge.training import EpochReport, imagenet_weights, train_network
    from fcn_edge.training.loop import keep_freed_memory

    if epochs is not None and chosen.train is not None:
        chosen = replace(chosen, train=replace(chosen.train, epochs=epochs))
    images = dataset_from_name(data)
    validation = dataset_from_name(val) if val else None
    extra = dataset_from_name(supplement) if supplement else None
    behind = [dataset_from_name(name) for name in backgrounds or ()]
    weights = backbone or (None if start else imagenet_weights(chosen.network.backbone))
    if weights is None and start is None:
        say("no ImageNet weights given or installed: the backbone starts from random weights")

    trained: list[EpochReport] = []
    keep_freed_memory()

    def report(r: EpochReport) -> None:
        trained.append(r)
        scored = "" if r.miou is None else f"mIoU {100 * r.miou:.1f} (best {100 * (r.best_miou or 0):.1f})  "
        say(f"epoch {r.epoch}/{r.epochs}  loss {r.loss:.4g}  {scored}{r.seconds:.0f} s")

    with progress_bar() as progress:
        record = train_network(
            chosen,
            out,
            data=images,
            validation=validation,
            supplement=extra,
            backgrounds=behind,
            backbone_weights=weights,
            start=start,
            on_epoch=report,
            on_step=lambda epoch, step, steps: progress.update(f"epoch {epoch}", step, steps),
        )
    for each in filter(None, (images, validation)):
        for line in each.notes.lines:
            say(f"note: {each.name}: {line}")
    epochs = len(record["epochs"])
    result = {
        "checkpoint": str(out),
        "best_miou": record["best_miou"],
        "epochs": epochs,
        "resumed_after": epochs - len(trained),
    }
    emit(result, as_json=json, human=lambda: _print_training(result))


def _print_training(result: dict[str, Any]) -> None:
    """What `train` made, in a few lines for people."""
    epochs, before = result["epochs"], result["resumed_after"]
    if before == epochs:
        print(f"nothing left to train: all {epochs} epochs were done before")
    elif before:
        print(f"went on after epoch {before} of {epochs}")
    kept = "the last" if result["best_miou"] is None else f"best mIoU {100 * result['best_miou']:.1f}"
    print(f"{result['checkpoint']}: {kept} of {epochs} epochs")
