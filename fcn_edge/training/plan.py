"""A recipe's [train] section, checked before anything is read."""

from __future__ import annotations

from fcn_edge.errors import BadInput
from fcn_edge.registry import Recipe, SceneRecipe, TrainRecipe
from fcn_edge.spec import FREE_SIZE_STEP


def require_plan(recipe: Recipe) -> TrainRecipe:
    """The recipe's [train] section. Raises BadInput where there is none, or its values cannot be."""
    plan = recipe.train
    if plan is None:
        raise BadInput(f"{recipe.name}: this recipe has no [train] section")
    wrong = [
        words
        for is_fine, words in (
            (plan.epochs >= 1, f"epochs {plan.epochs}, expected 1 or more"),
            (plan.batch >= 1, f"batch {plan.batch}, expected 1 or more"),
            (min(plan.crop) >= 1, f"crop {plan.crop[0]}x{plan.crop[1]}, expected pixels"),
            (_fits_stride(recipe), f"crop {plan.crop[0]}x{plan.crop[1]}, expected multiples of {FREE_SIZE_STEP}"),
            (0 < plan.scales[0] <= plan.scales[1], f"scales {plan.scales}, expected two above 0, the smaller first"),
            (plan.stretch >= 0, f"stretch {plan.stretch:g}, expected 0 or more"),
            (0 <= plan.rotation <= 180, f"rotation {plan.rotation:g}, expected 0 to 180 degrees"),
            (plan.learning_rate > 0, f"learning_rate {plan.learning_rate:g}, expected above 0"),
            (0 <= plan.synthetic_share < 1, f"synthetic_share {plan.synthetic_share:g}, expected 0 up to below 1"),
            (plan.photometric >= 0, f"photometric {plan.photometric:g}, expected 0 or more"),
            (plan.jaccard >= 0, f"jaccard {plan.jaccard:g}, expected 0 or more"),
            (0 <= plan.sensor <= 1, f"sensor {plan.sensor:g}, expected 0 to 1"),
            (0 <= plan.camera <= 1, f"camera {plan.camera:g}, expected 0 to 1"),
            (0 <= plan.rare_share <= 1, f"rare_share {plan.rare_share:g}, expected 0 to 1"),
            (0 <= plan.average < 1, f"average {plan.average:g}, expected 0 up to below 1"),
            (0 < plan.warm_up < 1, f"warm_up {plan.warm_up:g}, expected a share above 0 and below 1"),
            (plan.backbone_rate >= 0, f"backbone_rate {plan.backbone_rate:g}, expected 0 or more"),
            (
                0 <= plan.full_size_epochs <= plan.epochs,
                f"full_size_epochs {plan.full_size_epochs}, expected 0 to {plan.epochs}, the epochs",
            ),
        )
        if not is_fine
    ]
    wrong += _wrong_of_scenes(plan.scenes)
    if wrong:
        raise BadInput(f"{recipe.name}: [train] {'; '.join(wrong)}")
    return plan


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
