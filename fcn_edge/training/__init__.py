"""Fine-tune an FCN on a labelled set: resumable, the best checkpoint kept, a record written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.data import DataLike, open_dataset
from fcn_edge.engines import require_package
from fcn_edge.errors import BadInput
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe, recipe_from_shelf
from fcn_edge.training.record import EpochReport, Trained, TrainingRecord

if TYPE_CHECKING:
    from fcn_edge.training.fine_tuning import NetworkChange

__all__ = ["IMAGENET", "EpochReport", "Trained", "TrainingRecord", "train"]

IMAGENET = "imagenet"


def train(
    recipe: str | Path | Recipe,
    *,
    data: DataLike,
    out: str | Path,
    val: DataLike | None = None,
    supplement: DataLike | None = None,
    backgrounds: Iterable[DataLike] = (),
    backbone: str | Path | None = IMAGENET,
    start: str | Path | None = None,
    epochs: int | None = None,
    change: NetworkChange | None = None,
    progress: Progress = SILENT,
) -> Trained:
    """Train the network of a recipe; the same call goes on where a run was stopped or killed.

    Writes the checkpoint `out`, its record `out.record.json`, its curves `out.record.png`, and `out.state`, from
    which training goes on after its last whole epoch. glibc keeps freed memory for the rest of the process.

    Args:
        recipe: a name (`fcn-edge models`), a TOML file, or a recipe.
        data: the training set; see `fcn_edge.data.open_dataset`.
        out: checkpoint to write (.safetensors).
        val: the checkpoint is the best epoch on this set; without one, the last epoch.
        supplement: synthetic pictures, mixed in by the recipe's `synthetic_share`.
        backgrounds: pictures behind the figures of the recipe's composed scenes.
        backbone: a file of ImageNet weights; "imagenet" for those of an installed package, where there are any and
            no `start` is given; None for random weights.
        start: checkpoint whose layers the network begins with, as FCN-16s begins with FCN-32s.
        epochs: in place of the recipe's.
        change: made to the network before it is trained; see `fcn_edge.experimental.qat`.
        progress: receives each step, and each finished epoch as a note.

    Returns:
        The checkpoint and its training record.

    Raises:
        BadInput: unfit data, recipe or weights, a state of another run, or a loss that is not finite; the best
            checkpoint so far is kept.
        BackendMissing: PyTorch is not installed.

    Example:
        >>> trained = train("fcn4s_lite0_camvid", data="camvid:camvid#train", out="net.safetensors")
        >>> trained.record.epochs[-1].loss
    """
    require_package("pytorch")
    from fcn_edge.training.fine_tuning import TrainingData, fine_tune

    chosen = recipe if isinstance(recipe, Recipe) else recipe_from_shelf(str(recipe))
    if epochs is not None and chosen.train is not None:
        chosen = replace(chosen, train=replace(chosen.train, epochs=epochs))
    out, start = Path(out), None if start is None else Path(start)
    if out.suffix != ".safetensors":
        raise BadInput(f"`out` is {out}; a checkpoint ends in .safetensors, such as {out.stem or 'net'}.safetensors")
    sets = TrainingData(
        open_dataset(data),
        None if val is None else open_dataset(val),
        None if supplement is None else open_dataset(supplement),
        tuple(open_dataset(each) for each in backgrounds),
    )
    weights = _backbone_weights(chosen, backbone, start)
    if weights is None and start is None:
        progress.note("no ImageNet weights are given or installed: the backbone starts from random weights")
    trained = fine_tune(chosen, out, sets, backbone=weights, start=start, change=change, progress=progress)
    for each in filter(None, (sets.images, sets.val)):
        for line in each.notes.lines:
            progress.note(f"{each.name}: {line}")
    return trained


def _backbone_weights(recipe: Recipe, backbone: str | Path | None, start: Path | None) -> Path | None:
    if backbone != IMAGENET:
        return None if backbone is None else Path(backbone)
    from fcn_edge.training.starting_weights import imagenet_weights

    return None if start else imagenet_weights(recipe.network.backbone)
