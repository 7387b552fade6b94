"""The verb `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, progress_bar


@verb
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe by name (fcn-edge models lists them), or a TOML file.")],
    data: Annotated[str, typer.Option("--data", help="Training set, such as camvid:DIR#train.")],
    out: Annotated[Path, typer.Option("--out", help="Checkpoint to write (.safetensors).")],
    val: Annotated[
        str | None, typer.Option("--val", help="Validation set: the best epoch is kept [the last epoch].")
    ] = None,
    supplement: Annotated[str | None, typer.Option("--supplement", help="Synthetic data set that is mixed in.")] = None,
    backgrounds: Annotated[
        list[str] | None,
        typer.Option("--backgrounds", help="Data set of backgrounds for composed scenes (repeatable)."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="ImageNet weights of the backbone [the installed ones].")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", help="Checkpoint to start from, such as FCN-32s for FCN-16s.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Number of epochs [the recipe's].")] = None,
    json: JsonOption = False,
) -> None:
    """Train a network by a recipe and keep the best epoch.

    A run that was stopped or killed continues after its last complete epoch when the same command is given
    again. Next to the checkpoint are its record (.record.json), curves (.record.png) and the state to continue
    from (.state).

    Neighbouring frames of a drive are alike: to judge a recipe, validate on a drive that is not in the training
    set; then train on all drives.

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
    from fcn_edge.training import IMAGENET
    from fcn_edge.training import train as train_network

    with progress_bar() as progress:
        trained = train_network(
            recipe,
            data=data,
            out=out,
            val=val,
            supplement=supplement,
            backgrounds=backgrounds or (),
            backbone=backbone or IMAGENET,
            start=start,
            epochs=epochs,
            progress=progress,
        )
    result = {
        "checkpoint": str(out),
        "best_miou": trained.record.best_miou,
        "epochs": len(trained.record.epochs),
        "resumed_after": trained.resumed_after,
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
