"""The verb `evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._model import runnable
from fcn_edge.cli._options import (
    AllowHostCodeOption,
    ClusterOption,
    ExecutionOption,
    JsonOption,
    ModelArgument,
    ProviderOption,
    RecipeOption,
    ScheduleOption,
    SpecOption,
    TargetOption,
    ThreadsOption,
)
from fcn_edge.cli._print import emit, print_skipped, print_table, progress_bar, stage_runs_in_words, warn

if TYPE_CHECKING:
    from fcn_edge.cli._saved_run import SavedRun


@verb
def evaluate(
    data: Annotated[str, typer.Option("--data", help="Labelled data set, KIND:PATH#SPLIT.")],
    model: ModelArgument = None,
    target: TargetOption = "auto",
    execution: ExecutionOption = None,
    provider: ProviderOption = "cpu",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Number of images, from the first [all].")] = None,
    trimap: Annotated[
        int | None, typer.Option("--trimap", min=1, help="Also score only pixels this near to a class boundary.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Compare with this model, or JSON file of evaluate or bench (FILE.json#ROW)."),
    ] = None,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    schedule: ScheduleOption = "every",
    threads: ThreadsOption = None,
    allow_host_code: AllowHostCodeOption = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Score a network on a labelled data set.

    Prints pixel accuracy, mean accuracy, mIoU and frequency weighted IU with 95 % intervals, and the IU of
    each class. Images that do not decode are listed and left out.

    --against scores a second model on the same images, or reads its scores from the JSON of an earlier
    evaluate or a row of a bench record, and reports whether the difference of mIoU is significant. Each class
    is tested separately, so about one class in twenty appears to differ by chance.

    --schedule needs a data set of videos and applies to MODEL alone. --cluster ray gives bit-identical scores.

    \b
    Examples:
      fcn-edge evaluate net.int8.onnx --data camvid:camvid#val
      fcn-edge evaluate net.int8.onnx --data camvid:camvid#val --against net.onnx
      fcn-edge evaluate net.onnx --data camvid:camvid#val --against bench/record.json#2
      fcn-edge evaluate net.onnx --data camvid:camvid#val --schedule fixed:1,2,4 --against net.onnx
      fcn-edge evaluate net.onnx --data camvid:camvid#val --trimap 3
    """
    from fcn_edge.cli._saved_run import (
        comparison_of,
        is_saved_run,
        result_of,
        run_from_evaluation,
        run_from_json,
    )
    from fcn_edge.cluster import evaluate_on_ray
    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines import EngineOptions, model_path, open_engine
    from fcn_edge.errors import BadInput
    from fcn_edge.evaluation import evaluate_engine
    from fcn_edge.schedule import EVERY

    labelled = dataset_from_name(data)
    if cluster and (limit or trimap or schedule != EVERY):
        raise BadInput("--cluster scores whole sets, image by image: leave out --limit, --trimap and --schedule")
    other = run_from_json(against) if against and is_saved_run(against) else None
    if against and other is None:
        model_path(against)  # a name that is nothing is told before minutes of measuring
    with progress_bar() as progress:

        def measured(what: str, name: str | None, when: str, spec: Path | None, recipe: str | None) -> SavedRun:
            options = EngineOptions(
                execution,
                threads,
                provider=provider,
                schedule=when,
                allow_host_code=allow_host_code,
            )
            with (
                runnable(name, spec, recipe) as path,
                open_engine(path, target=target, options=options) as engine,
            ):
                on_image = partial(progress.update, what)
                if cluster:
                    found = evaluate_on_ray(path, data, target=engine.target, options=options, on_image=on_image)
                else:
                    found = evaluate_engine(engine, labelled, limit=limit, trimap=trimap, on_image=on_image)
                return run_from_evaluation(found, engine)

        run = measured("evaluating", model, schedule, spec, recipe)
        if against:
            other = other or measured("evaluating the other", against, EVERY, None, None)
    result = result_of(run, labelled, trimap)
    for warning in result["warnings"]:
        warn(warning)
    if other is not None:
        result["against"] = comparison_of(run, other, labelled.classes)
    emit(result, as_json=json, human=lambda: _print_evaluation(result))


def _print_evaluation(result: dict[str, Any]) -> None:
    """The result for people, in points."""
    from rich.table import Table

    from fcn_edge.engines.base import StageRuns

    named = (("mean IU", "miou"), ("pixel acc.", "pixel_acc"), ("mean acc.", "mean_acc"), ("f.w. IU", "fw_iou"))
    said = [f"{name} {_points(result[key])}{_between(result.get(f'{key}_ci'))}" for name, key in named]
    print(f"{result['data']}, {result['images']} images: " + ", ".join(said))
    against = result.get("against")
    table = Table("class", "IU", "95 % interval", *(("other", "difference", "95 % interval") if against else ()))
    for name, value in result["iou"].items():
        cells = [name, _points(value), _limits(result["iou_ci"][name])]
        if against:
            other = against["classes"][name]
            cells += [_points(other["iou"]), _signed(other["difference"]), _limits(other["difference_ci"], sign="+")]
        table.add_row(*cells)
    print_table(table)
    if "trimap" in result:
        print(f"mean IU near boundaries (trimap): {_points(result['trimap']['miou'])}")
    print(f"{result['model']} on {result['runtime']}, {result['precision']}, executed in {result['execution']}")
    if result["stage_runs"]:
        stages = [StageRuns(**stage) for stage in result["stage_runs"]]
        print(f"schedule {result['schedule']}: {stage_runs_in_words(stages)}")
    if against:
        _print_difference(against, result)
    if reason := result["interval"]["reason"]:
        print(f"no interval: {reason}")
    _print_labels(result)
    print_skipped(result["skipped"])


def _print_labels(result: dict[str, Any]) -> None:
    """What the scores say nothing of."""
    if (share := result["ignored_share"]) is not None:
        print(f"ignored: {share:.1%} of the label pixels")
    for key, words in (("classes_without_labels", "in no label"), ("classes_never_predicted", "never predicted")):
        if result[key]:
            print(f"{words}: {', '.join(result[key])}")
    for note in result["notes"]:
        print(f"note: {note}")


def _print_difference(against: dict[str, Any], result: dict[str, Any]) -> None:
    print(f"against {against['name']}: mean IU {_points(against['miou'])}{_between(against['miou_ci'])}")
    verdicts = {
        "real": "real: the interval excludes 0",
        "not distinguishable": f"not distinguishable with {result['images']} images",
        "undecidable": "whether it is real cannot be told",
    }
    shown = _signed(against["difference"]) + _between(against["difference_ci"], sign="+")
    print(f"difference in mean IU: {shown} points; {verdicts[against['verdict']]}")


def _points(value: float | None) -> str:
    """A fraction in points with one decimal; "absent" for None."""
    return "absent" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:+.2f}"


def _limits(interval: list[float] | None, *, sign: str = "") -> str:
    """Differences carry a sign and a decimal more."""
    digits = "+.2f" if sign else ".1f"
    return "-" if interval is None else " to ".join(f"{100 * limit:{digits}}" for limit in interval)


def _between(interval: list[float] | None, *, sign: str = "") -> str:
    return "" if interval is None else f" ({_limits(interval, sign=sign)})"
