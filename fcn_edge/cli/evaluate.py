"""The verb `evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fcn_edge.cli._app import verb
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
from fcn_edge.cli._print import emit, print_skipped, print_table, progress_bar, show, stage_runs_in_words, warn


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

    Prints pixel accuracy, mean accuracy, mIoU and frequency weighted IoU with 95 % intervals, and the IoU of
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
    from fcn_edge.engines import EngineOptions
    from fcn_edge.evaluation_report import evaluation_report

    options = EngineOptions(execution, threads, provider=provider, schedule=schedule, allow_host_code=allow_host_code)
    with progress_bar() as progress:
        report = evaluation_report(
            model,
            data=data,
            against=against,
            target=target,
            options=options,
            spec=spec,
            recipe=recipe,
            limit=limit,
            trimap=trimap,
            cluster=cluster,
            progress=progress,
        ).to_mapping()
    for text in report["warnings"]:
        warn(text)
    emit(report, as_json=json, human=lambda: _print_evaluation(report))


def _print_evaluation(report: dict[str, Any]) -> None:
    """The report for people, in points."""
    from rich.table import Table

    from fcn_edge.engines.base import StageRuns

    named = (("mIoU", "miou"), ("pixel acc.", "pixel_acc"), ("mean acc.", "mean_acc"), ("f.w. IoU", "fw_iou"))
    scores = [f"{name} {_points(report[key])}{_between(report.get(f'{key}_ci'))}" for name, key in named]
    print(f"{report['data']}, {report['images']} images: " + ", ".join(scores))
    against = report.get("against")
    table = Table("class", "IoU", "95 % interval", *(("other", "difference", "95 % interval") if against else ()))
    for name, value in report["iou"].items():
        cells = [name, _points(value), _limits(report["iou_ci"][name])]
        if against:
            other = against["classes"][name]
            cells += [_points(other["iou"]), _signed(other["difference"]), _limits(other["difference_ci"], sign="+")]
        table.add_row(*cells)
    print_table(table)
    if "trimap" in report:
        print(f"mIoU near boundaries (trimap): {_points(report['trimap']['miou'])}")
    print(f"{report['model']} on {report['runtime']}, {report['precision']}, executed in {report['execution']}")
    if report["stage_runs"]:
        stages = [StageRuns(**stage) for stage in report["stage_runs"]]
        print(f"schedule {report['schedule']}: {stage_runs_in_words(stages)}")
    if against:
        _print_difference(against, report)
    if reason := report["interval"]["reason"]:
        show(f"no interval: {reason}")
    _print_labels(report)
    print_skipped(report["skipped"])


def _print_labels(report: dict[str, Any]) -> None:
    """What the scores say nothing of."""
    if (share := report["ignored_share"]) is not None:
        print(f"ignored: {share:.1%} of the label pixels")
    for key, words in (("classes_without_labels", "in no label"), ("classes_never_predicted", "never predicted")):
        if report[key]:
            print(f"{words}: {', '.join(report[key])}")
    for note in report["notes"]:
        show(f"note: {note}")


def _print_difference(against: dict[str, Any], report: dict[str, Any]) -> None:
    print(f"against {against['name']}: mIoU {_points(against['miou'])}{_between(against['miou_ci'])}")
    verdicts = {
        "real": "significant: the interval excludes 0",
        "not distinguishable": f"not significant with {report['images']} images",
        "undecidable": "its significance is undecidable",
    }
    shown = _signed(against["difference"]) + _between(against["difference_ci"], sign="+")
    print(f"difference of mIoU: {shown} points; {verdicts[against['verdict']]}")


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
