"""A recipe's [train] section, checked before anything is read."""

from __future__ import annotations

from fcn_edge.errors import BadInput
from fcn_edge.registry import Recipe, SceneRecipe, TrainRecipe
from fcn_edge.spec import FREE_SIZE_STEP


def require_settings(recipe: Recipe) -> TrainRecipe:
    """The recipe's [train] section. Raises BadInput where there is none, or its values cannot be."""
    train = recipe.train
    if train is None:
        raise BadInput(f"{recipe.name}: this recipe has no [train] section")
    wrong = [
        words
        for is_fine, words in (
            (train.epochs >= 1, f"epochs {train.epochs}, expected 1 or more"),
            (train.batch >= 1, f"batch {train.batch}, expected 1 or more"),
            (min(train.crop) >= 1, f"crop {train.crop[0]}x{train.crop[1]}, expected pixels"),
            (
                _fits_stride(recipe),
                f"crop {train.crop[0]}x{train.crop[1]}, expected multiples of {FREE_SIZE_STEP}",
            ),
            (
                0 < train.scales[0] <= train.scales[1],
                f"scales {train.scales}, expected two above 0, the smaller first",
            ),
            (train.stretch >= 0, f"stretch {train.stretch:g}, expected 0 or more"),
            (0 <= train.rotation <= 180, f"rotation {train.rotation:g}, expected 0 to 180 degrees"),
            (train.learning_rate > 0, f"learning_rate {train.learning_rate:g}, expected above 0"),
            (
                0 <= train.synthetic_share < 1,
                f"synthetic_share {train.synthetic_share:g}, expected 0 up to below 1",
            ),
            (train.photometric >= 0, f"photometric {train.photometric:g}, expected 0 or more"),
            (train.jaccard >= 0, f"jaccard {train.jaccard:g}, expected 0 or more"),
            (0 <= train.sensor <= 1, f"sensor {train.sensor:g}, expected 0 to 1"),
            (0 <= train.camera <= 1, f"camera {train.camera:g}, expected 0 to 1"),
            (0 <= train.rare_share <= 1, f"rare_share {train.rare_share:g}, expected 0 to 1"),
            (0 <= train.average < 1, f"average {train.average:g}, expected 0 up to below 1"),
            (0 < train.warm_up < 1, f"warm_up {train.warm_up:g}, expected a share above 0 and below 1"),
            (train.backbone_rate >= 0, f"backbone_rate {train.backbone_rate:g}, expected 0 or more"),
            (
                0 <= train.full_size_epochs <= train.epochs,
                f"full_size_epochs {train.full_size_epochs}, expected 0 to {train.epochs}, the epochs",
            ),
        )
        if not is_fine
    ]
    wrong += _wrong_of_scenes(train.scenes)
    if wrong:
        raise BadInput(f"{recipe.name}: [train] {'; '.join(wrong)}")
    return train


def _wrong_of_scenes(scenes: SceneRecipe | None) -> list[str]:
    """What cannot be in the [train.scenes] section."""
    if scenes is None:
        return []
    low, high = scenes.scales
    shares = {"share": scenes.share, "empty": scenes.empty, "drawn": scenes.drawn}
    wrong = [f"scenes.{name} {value:g}, expected 0 to 1" for name, value in shares.items() if not 0 <= value <= 1]
    if not 0 < low <= high:
        wrong.append(f"scenes.scales {scenes.scales}, expected two above 0, the smaller first")
    if scenes.figure == scenes.background:
        wrong.append(f"scenes.figure and scenes.background are both {scenes.figure!r}, expected two classes")
    if scenes.most < 1:
        wrong.append(f"scenes.most {scenes.most}, expected 1 or more")
    return wrong


def _fits_stride(recipe: Recipe) -> bool:
    """Networks of "same" geometry train on crops that need no padding."""
    crop = recipe.train.crop if recipe.train else (0, 0)
    return recipe.network.geometry != "same" or all(side % FREE_SIZE_STEP == 0 for side in crop)
