"""The verbs `data check`, `data show`, `data split` and `data convert`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fcn_edge.cli._app import app, verb_of
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_table, progress_bar, say, warn
from fcn_edge.errors import BadInput

if TYPE_CHECKING:
    from fcn_edge.data.checks import DataCheck, SetCheck

NAME_HELP = "Data set, such as coco:FILE.json,IMAGES or folder:DIR#train."

data = typer.Typer(rich_markup_mode=None)
app.add_typer(data, name="data")
verb = verb_of(data)


@data.callback(invoke_without_command=True)
def _data(ctx: typer.Context) -> None:
    """Check, show, split and convert labelled images.

    \b
    Examples:
      fcn-edge data check coco:instances.json,images
      fcn-edge data show coco:instances.json,images --out sheet.png
      fcn-edge data split coco:instances.json,images --train 0.8 --seed 1 --out lists
      fcn-edge data convert coco:instances.json,images --out converted
    """
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        raise typer.Exit(BadInput.exit_code)


@verb
def check(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Data sets, such as folder:DIR#train and folder:DIR#val.")
    ],
    json: JsonOption = False,
) -> None:
    """Read every pair of sets; name the files that are wrong.

    Counts pairs, sizes, class shares and ignored pixels. Exit code 2: a pair cannot be read or does not fit, all of an
    image's pixels are ignored, one image has two different labels, the sets have different classes, or an image of one
    set looks like one of another (near-duplicate by a perceptual hash). Near-duplicates within a set, and classes that
    are absent or rare, are warnings.

    \b
    Examples:
      fcn-edge data check folder:data#train folder:data#val
      fcn-edge data check coco:instances.json,images --json
    """
    from fcn_edge.data.checks import check_datasets

    with progress_bar() as progress:
        result = check_datasets(names, progress=progress)
    for warning in result.warnings:
        warn(warning)
    emit(result.to_mapping(), as_json=json, human=lambda: _print_check(result))
    for problem in result.problems:
        say(f"problem: {problem}")
    if result.problems:
        raise typer.Exit(BadInput.exit_code)


@verb
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")],
    images: Annotated[int, typer.Option("--images", help="Number of images, evenly spread over the set.")] = 24,
    columns: Annotated[int, typer.Option("--columns", help="Images side by side.")] = 4,
    width: Annotated[int, typer.Option("--width", help="Width of each image, in pixels.")] = 320,
    json: JsonOption = False,
) -> None:
    """Draw images with their labels into one PNG.

    A legend names the colours; ignored pixels are striped. Images that cannot be read are grey, and named on stderr.

    \b
    Examples:
      fcn-edge data show labelme:photos --out sheet.png
    """
    from fcn_edge.data import open_dataset
    from fcn_edge.data.contact_sheet import contact_sheet, write_contact_sheet
    from fcn_edge.outputs import require_outputs

    require_outputs([out], [name])
    dataset = open_dataset(name)
    with progress_bar() as progress:
        sheet = contact_sheet(dataset, images=images, columns=columns, width=width, progress=progress)
    write_contact_sheet(out, sheet)
    for sentence in sheet.unreadable:
        warn(sentence)
    _say_notes(dataset.notes.lines)
    result = {"out": str(out), "images": sheet.names, "unreadable": sheet.unreadable, "notes": dataset.notes.lines}
    emit(result, as_json=json, human=lambda: print(f"wrote {out}: {len(sheet.names)} images"))


@verb
def split(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    out: Annotated[Path, typer.Option("--out", help="Folder for train.txt, val.txt and test.txt.")],
    train: Annotated[str, typer.Option("--train", help="Share of the training set.")] = "0.8",
    val: Annotated[str | None, typer.Option("--val", help="Share of the validation set [what is left].")] = None,
    test: Annotated[str | None, typer.Option("--test", help="Share of a test set [none].")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw.")] = 0,
    by: Annotated[
        Literal["name", "sequence"], typer.Option("--by", help="Draw single images, or whole sequences.")
    ] = "name",
    json: JsonOption = False,
) -> None:
    """Divide a set into lists of images.

    The lists are for training, validation and test. The draw depends on each image's name (or sequence) and the seed
    alone: images that are added later leave the others where they are. Frames of one drive or video look alike;
    --by sequence keeps them together. Without lists the same division is NAME#train=0.8,seed=1 and NAME#val=0.2,seed=1
    wherever a data set is named.

    \b
    Examples:
      fcn-edge data split folder:data --train 0.7 --val 0.2 --test 0.1 --seed 1 --out lists
      fcn-edge data split coco:instances.json,images --by sequence --out lists
    """
    from fcn_edge.data import open_dataset
    from fcn_edge.data.splits import lists_from_shares, share_from_text, write_lists

    given = {"train": train, "test": test, "val": val}
    shares = {part: share_from_text(text, f"`{part}`") for part, text in given.items() if text is not None}
    if val is None:
        shares["val"] = 1 - sum(shares.values(), Fraction(0))
    lists = lists_from_shares(open_dataset(name), shares, seed=seed, by=by)
    paths = write_lists(out, lists, name)
    counts = {part: len(items) for part, items in lists.items()}
    result = {"lists": {part: str(path) for part, path in zip(lists, paths)}, "images": counts, "seed": seed, "by": by}

    def human() -> None:
        joint = "," if "#" in name else "#"
        for part, path in zip(lists, paths):
            print(f"{path}: {counts[part]} images; {name}{joint}list={path}")

    emit(result, as_json=json, human=human)


@verb
def convert(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    out: Annotated[Path, typer.Option("--out", help="Folder for images/, labels/ and classes.json.")],
    json: JsonOption = False,
) -> None:
    """Write a set of any kind as `folder:OUT`.

    OUT gets images/, labels/ (palette PNGs whose indices are classes) and classes.json. Image files are copied as they
    are. An image that cannot be read ends the conversion, and nothing is written.

    \b
    Examples:
      fcn-edge data convert coco:train.json,images --out data/train
      fcn-edge data convert 'cvat:export#default,ignore=void' --out data/val
    """
    from fcn_edge.data import open_dataset
    from fcn_edge.data.conversion import convert_dataset

    dataset = open_dataset(name)
    with progress_bar() as progress:
        convert_dataset(dataset, out, progress=progress)
    _say_notes(dataset.notes.lines)
    count = len(dataset.items)
    result = {"out": str(out), "images": count, "classes": list(dataset.classes), "notes": dataset.notes.lines}
    emit(result, as_json=json, human=lambda: print(f"wrote {out}: {count} images; open it as folder:{out}"))


def _say_notes(lines: list[str]) -> None:
    for line in lines:
        say(f"note: {line}")


def _print_check(result: DataCheck) -> None:
    for number, each in enumerate(result.sets):
        print(("\n" if number else "") + _heading(each))
        _print_classes(each)
        for note in each.notes:
            print(f"note: {note}")
    count = len(result.problems)
    print(f"{count} problem{'' if count == 1 else 's'}" if count else "no problem")


def _heading(check: SetCheck) -> str:
    sizes = [f"{width}x{height}" for (height, width), _ in check.sizes.most_common(3)]
    more = f" and {len(check.sizes) - 3} more sizes" if len(check.sizes) > 3 else ""
    ignored = "" if check.ignored_share is None else f", {check.ignored_share:.1%} of the pixels ignored"
    return f"{check.name}: {check.images} images, {', '.join(sizes) or 'none readable'}{more}{ignored}"


def _print_classes(check: SetCheck) -> None:
    from rich.table import Table

    table = Table("class", "share of labelled pixels", "images")
    rows: list[tuple[str, Any, Any]] = list(zip(check.classes, check.shares, check.images_with))
    for name, share, images in rows:
        table.add_row(name, "absent" if not share else f"{share:.2%}", str(int(images)))
    print_table(table)
