"""Parts of a data set: one drive of it, the items of a list, or a share of them.

A share is drawn by the hash of each item's name (or of its sequence) and a seed, so that it depends on no order, stays
as it is when images are added, and `train=0.8` and `val=0.2` of one seed are all items, each in one of them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePath

from fcn_edge.atomic_io import whole_file
from fcn_edge.data.base import IMAGE_SUFFIXES, Dataset, Item
from fcn_edge.errors import BadInput
from fcn_edge.outputs import MARK, require_outputs
from fcn_edge.schema import nearest

SELECTIONS = ("only", "without", "list", "train", "val", "seed", "by")
PARTS = ("train", "test", "val")  # in the order of their places: train from below, val from above
UNITS = ("name", "sequence")  # what is drawn as a whole
SCALE = 2**64
NUMBERED = re.compile(r"[-_. ]*(?:frame[-_]?)?\d+$", re.IGNORECASE)


def selected(dataset: Dataset, options: Sequence[tuple[str, str]], folder: Path) -> Dataset:
    """The items that all of the options choose; the data set itself where there are none.

    Args:
        options: only=SEQUENCE, without=SEQUENCE, list=FILE, train=SHARE or val=SHARE with seed=NUMBER and by=name or
            by=sequence.
        folder: where a list is looked for that is not there as it is named.

    Raises:
        BadInput: an option that cannot be, or that leaves no item.
    """
    if not options:
        return dataset
    items = [dataset.items[number] for number in range(len(dataset.items))]
    draw = {key: value for key, value in options if key in ("train", "val", "seed", "by")}
    name = dataset.name
    for key, value in options:
        name = f"{name},{key}={value}" if "#" in name else f"{name}#{key}={value}"
        if key in ("only", "without"):
            items = _of_sequence(items, key, value, name)
        elif key == "list":
            items = _of_list(items, _list_file(value, folder))
        elif key in ("train", "val"):
            items = _drawn(items, key, draw, name)
    if ("seed" in draw or "by" in draw) and not {"train", "val"} & set(draw):
        raise BadInput(f"{name}: seed and by belong to train=SHARE or val=SHARE")
    return replace(dataset, name=name, items=items)


def _of_sequence(items: list[Item], word: str, sequence: str, name: str) -> list[Item]:
    """The items of one sequence ("only"), or of all others ("without")."""
    known = {item.sequence for item in items}
    if sequence not in known:
        raise BadInput(f"{name}: no such sequence{nearest(sequence, sorted(known))}")
    kept = [item for item in items if (item.sequence == sequence) == (word == "only")]
    if not kept:
        raise BadInput(f"{name}: leaves no image; {sequence} is its only sequence")
    return kept


def _list_file(text: str, folder: Path) -> Path:
    path = Path(text)
    return path if path.is_file() or not (folder / text).is_file() else folder / text


def _of_list(items: list[Item], path: Path) -> list[Item]:
    """The items that a file lists, in its order: a name a line, with or without folders and suffix."""
    names = names_from_list(path)
    by_name = {item.name: item for item in items}
    stems = Counter(PurePath(item.name).name for item in items)
    by_stem = {PurePath(item.name).name: item for item in items}
    chosen = []
    for name in names:
        stem = PurePath(name).name
        if name not in by_name and stems[stem] > 1:
            raise BadInput(f"{path}: {name} is the name of {stems[stem]} images; write each with its folder")
        item = by_name.get(name) or by_stem.get(stem)
        if item is None:
            raise BadInput(f"{path}: lists {name}, which the data set does not have{nearest(name, by_name)[:200]}")
        chosen.append(item)
    twice = [name for name, count in Counter(item.name for item in chosen).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: lists {twice[0]} more than once; leave each image there once")
    return chosen


def names_from_list(path: Path) -> list[str]:
    """The names in a list, without the suffix of images; lines that begin with # are comments. Raises BadInput."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a list of images, a name a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not text in UTF-8; expected a list of images, a name a line") from error
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise BadInput(f"{path}: the list is empty")
    names = [name.replace("\\", "/") for name in names]
    return [name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name for name in names]


def _drawn(items: list[Item], word: str, draw: dict[str, str], name: str) -> list[Item]:
    share, seed, by = share_from_text(draw[word], name), draw.get("seed", "0"), draw.get("by", "name")
    if not re.fullmatch(r"\d{1,18}", seed):
        raise BadInput(f"{name}: seed={seed} is no whole number from 0")
    low, high = (Fraction(0), share) if word == "train" else (1 - share, Fraction(1))
    places = places_of_items(items, int(seed), by)
    chosen = [item for item, place in zip(items, places) if low <= place < high]
    if not chosen:
        raise BadInput(f"{name}: leaves no image of {len(items)}; take another share or seed")
    return chosen


def lists_from_shares(
    dataset: Dataset, shares: Mapping[str, Fraction], *, seed: int = 0, by: str = "name"
) -> dict[str, list[str]]:
    """Names of the items of train, test and val, the same that `#train=SHARE,seed=…` and `#val=SHARE,seed=…` choose.

    Args:
        dataset: whose items are divided.
        shares: of train and val, and of test if there is one; together 1.
        seed: of the draw.
        by: what stays together: nothing ("name"), or the frames of a "sequence".

    Raises:
        BadInput: other shares, or a list that would be empty.

    Example:
        >>> from fcn_edge.data import open_dataset
        >>> streets = open_dataset("synthetic:street,images=20,size=64x96")
        >>> {name: len(names) for name, names in lists_from_shares(streets, {"train": Fraction("0.8"),
        ...     "val": Fraction("0.2")}, seed=1).items()}
        {'train': 16, 'val': 4}
    """
    if not set(shares) <= set(PARTS) or sum(shares.values()) != 1:
        given = ", ".join(f"{name} {float(share):g}" for name, share in shares.items())
        raise BadInput(f"the shares {given or 'none'}; expected some of {', '.join(PARTS)}, together 1")
    items = [dataset.items[number] for number in range(len(dataset.items))]
    places = places_of_items(items, seed, by)
    lists, low = dict[str, list[str]](), Fraction(0)
    for part in PARTS:
        high = low + shares.get(part, 0)
        if part in shares:
            lists[part] = [item.name for item, place in zip(items, places) if low <= place < high]
            if not lists[part]:
                raise BadInput(
                    f"{dataset.name}: none of {len(items)} images for {part}; another `seed` or share may do"
                )
        low = high
    return lists


def write_lists(out: Path, lists: Mapping[str, Sequence[str]], source: str) -> list[Path]:
    """Write OUT/train.txt and so on, a name a line; gives their paths.

    Raises:
        BadInput: a file stands there that fcn-edge did not write.
    """
    paths = {out / f"{part}.txt": names for part, names in lists.items()}
    require_outputs(paths)
    for path, names in paths.items():
        with whole_file(path) as file:
            file.write_text("\n".join([f"# {MARK} from {source}", *names]) + "\n", encoding="utf-8")
    return list(paths)


def share_from_text(text: str, where: str) -> Fraction:
    """A share between 0 and 1, exactly as written. Raises BadInput."""
    if not re.fullmatch(r"0?\.\d{1,9}", text) or not Fraction(text):
        raise BadInput(f"{where}: {text!r} is no share; write a number between 0 and 1, such as 0.8")
    return Fraction(text)


def places_of_items(items: Sequence[Item], seed: int, by: str) -> list[Fraction]:
    """Where each item lies between 0 and 1: by the hash of its name, or of its sequence. Raises BadInput."""
    if by not in UNITS:
        raise BadInput(f"by={by}{nearest(by, UNITS)}")
    keys = [item.name if by == "name" else sequence_of(item) for item in items]
    if len(items) > 1 and len(set(keys)) == 1:
        raise BadInput(
            f"all {len(items)} images belong to the sequence {keys[0]!r}, which is not divided; draw by=name"
        )
    return [_place(key, seed) for key in keys]


def sequence_of(item: Item) -> str:
    """The drive or video of an item; where its data set knows none, its name without the number at its end."""
    if item.sequence != item.name:
        return item.sequence
    return NUMBERED.sub("", item.name) or item.name


def _place(key: str, seed: int) -> Fraction:
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return Fraction(int.from_bytes(digest[:8], "big"), SCALE)
