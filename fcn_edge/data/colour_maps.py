"""Colour maps of RGB-coded labels: which colour means which class.

JSON: {"names": [...], "palette_rgb": [[r, g, b], ...]} as in classes.json, {"road": [128, 64, 128], "car": "#00008e"}
or [{"name": "road", "color": "#804080"}, ...]. CSV with the columns name, r, g, b. Text: CVAT's labelmap.txt
(name:r,g,b:parts:actions), or lines of "r g b name" as CamVid's label_colors.txt.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcn_edge.atomic_io import json_from_text, require_file
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.spec import MAX_CLASSES

LIMIT = 1_000_000  # bytes
NAME_COLUMNS = ("name", "class", "label", "class_name")
COLOUR_COLUMNS = (("r", "g", "b"), ("red", "green", "blue"))
COLOUR_KEYS = ("color", "colour", "rgb", "palette_rgb")
NUMBERED = re.compile(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\S.*)")
HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")

Colour = tuple[int, int, int]


class ColourMap(NamedTuple):
    """Names and colours (RGB) in the order of the file. ignored: the name whose pixels do not count, "" for none."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that are classes."""
        return tuple(name for name in self.names if name != self.ignored)

    @property
    def palette(self) -> tuple[Colour, ...]:
        """The colours of the classes."""
        return tuple(colour for name, colour in zip(self.names, self.colours) if name != self.ignored)

    @property
    def values(self) -> tuple[int, ...]:
        """The class index of each name, 255 for the ignored one."""
        indices = {name: index for index, name in enumerate(self.classes)}
        return tuple(indices.get(name, UNLABELLED) for name in self.names)


def colour_map_from_file(path: Path) -> ColourMap:
    """The colour map in a JSON, CSV or text file.

    Raises:
        BadInput: no such file, another form, a colour or a name that stands twice.
    """
    colour_map = _checked(_entries(path), path)
    colours = colour_map.colours
    twice = next((colour for colour in colours if colours.count(colour) > 1), None)
    if twice is not None:
        raise BadInput(f"{path}: the colour {twice} more than once; each class has a colour of its own")
    return colour_map


def names_and_colours(path: Path) -> ColourMap:
    """As `colour_map_from_file`, of a file in which two classes may be shown in one colour. Raises BadInput."""
    return _checked(_entries(path), path)


def _entries(path: Path) -> list[tuple[Any, Any]]:
    require_file(path, "a colour map")
    if path.stat().st_size > LIMIT:
        raise BadInput(f"{path}: {path.stat().st_size} bytes; a colour map has up to {LIMIT}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not text in UTF-8; expected a colour map") from error
    read = {".json": _from_json, ".csv": _from_csv}.get(path.suffix.lower(), _from_lines)
    return list(read(text, path))


def _checked(entries: Sequence[tuple[Any, Any]], path: Path) -> ColourMap:
    names, colours = [name for name, _ in entries], [_colour(colour, path) for _, colour in entries]
    if not all(isinstance(name, str) and name for name in names):
        raise BadInput(f"{path}: a class without name")
    if not 1 <= len(names) <= MAX_CLASSES:
        raise BadInput(f"{path}: {len(names)} classes; 1 to {MAX_CLASSES} are possible")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{path}: the class {twice} more than once; each class has a name of its own")
    return ColourMap(tuple(names), tuple(colours))


def _colour(value: Any, path: Path) -> Colour:
    """From [r, g, b], "r,g,b" or "#rrggbb"."""
    if isinstance(value, str):
        match = HEX.fullmatch(value.strip())
        parts: Any = [int(part, 16) for part in match.groups()] if match else value.split(",")
    else:
        parts = value
    try:
        colour = tuple(int(part) for part in parts if not isinstance(part, (bool, float)))
    except (TypeError, ValueError):
        colour = ()
    if len(colour) != 3 or not all(0 <= part <= 255 for part in colour) or len(parts) != 3:
        raise BadInput(f"{path}: {value!r} is no colour; expected r, g, b from 0 to 255")
    return colour


def _from_json(text: str, path: Path) -> Iterable[tuple[Any, Any]]:
    content = json_from_text(text, str(path))
    if isinstance(content, list):
        return [_entry(entry, path) for entry in content]
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected names and colours, found {type(content).__name__}")
    if "names" in content:
        names, colours = content["names"], content.get("palette_rgb")
        if not isinstance(names, list) or not isinstance(colours, list) or len(names) != len(colours):
            raise BadInput(f"{path}: names and palette_rgb are not two lists of the same length")
        if isinstance(content.get("ignore_index"), int) and 0 <= content["ignore_index"] < len(names):
            raise BadInput(
                f"{path}: ignore_index is a label value, and colours have none; name the class in #ignore=NAME"
            )
        return list(zip(names, colours))
    return list(content.items())


def _entry(entry: Any, path: Path) -> tuple[Any, Any]:
    if not isinstance(entry, Mapping):
        raise BadInput(f"{path}: an entry that is no table of name and color")
    name = next((entry[key] for key in NAME_COLUMNS if key in entry), None)
    return name, next((entry[key] for key in COLOUR_KEYS if key in entry), None)


def _from_csv(text: str, path: Path) -> Iterable[tuple[Any, Any]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    heads = [cell.lower() for cell in rows[0]] if rows else []
    name = next((heads.index(word) for word in NAME_COLUMNS if word in heads), None)
    colour = next((words for words in COLOUR_COLUMNS if all(word in heads for word in words)), None)
    if name is None or colour is None:
        raise BadInput(f"{path}: the columns {', '.join(heads[:8])}; expected name, r, g, b")
    places = [heads.index(word) for word in colour]
    short = next((row for row in rows[1:] if len(row) <= max(name, *places)), None)
    if short is not None:
        raise BadInput(f"{path}: the row {short} is too short; expected name, r, g, b")
    return [(row[name], [row[place] for place in places]) for row in rows[1:]]


def _from_lines(text: str, path: Path) -> Iterable[tuple[Any, Any]]:
    entries: list[tuple[str, Any]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        numbered = NUMBERED.fullmatch(line)
        name, colon, rest = line.partition(":")
        if not numbered and not colon:
            raise BadInput(f"{path}: {line[:60]!r} is neither name:r,g,b:: nor r g b name")
        entries.append((numbered[4], numbered.groups()[:3]) if numbered else (name, rest.partition(":")[0]))
    if entries and all(colour == "" for _, colour in entries):  # as CVAT means VOC's colours
        return [(name, colour) for (name, _), colour in zip(entries, voc_palette(len(entries)))]
    return entries
