"""Pairs by two patterns: `images=img_*.jpg,labels=masks/seg_*.png`. What * stands for is the same in both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fcn_edge.data.base import HIDDEN, IMAGE_SUFFIXES, Notes, is_hidden, require_labels
from fcn_edge.errors import BadInput

OPTIONS = ("images", "labels")


def paired_by_patterns(root: Path, options: Mapping[str, str], notes: Notes) -> list[tuple[str, Path, Path]]:
    """Name, image and label file of each pair below `root`. The name is what * stands for; it may hold folders.

    Raises:
        BadInput: one pattern alone or without one *, no image, or an image without labels (named).
    """
    images, labels = (options.get(key, "") for key in OPTIONS)
    for key, pattern in zip(OPTIONS, (images, labels)):
        if pattern.count("*") != 1 or pattern.startswith("/") or ".." in Path(pattern).parts:
            raise BadInput(
                f"{root}: {key}={pattern or 'nothing'}; write images=PATTERN,labels=PATTERN, each with one *"
            )
    image_name, label_name = (re.compile(re.escape(text).replace(r"\*", "(.+)")) for text in (images, labels))
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        match = image_name.fullmatch(name)
        is_image = path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not label_name.fullmatch(name)
        if match and is_image:
            found[match[1]] = path
    hidden = {name: path for name, path in found.items() if is_hidden(path)}
    notes.add(HIDDEN, *(path.name for path in hidden.values()))
    pairs = [(name, path, root / labels.replace("*", name)) for name, path in found.items() if name not in hidden]
    if not pairs:
        raise BadInput(f"{root}: no image matches {images} that is no label file of {labels}")
    require_labels([(image, label) for _name, image, label in pairs])
    return pairs
