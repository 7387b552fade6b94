"""Values from the text of options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.errors import BadInput

if TYPE_CHECKING:
    from fcn_edge.engines.trt import ShapeRange


def size_from_text(text: str | None) -> tuple[int, int] | None:
    """(height, width) from "HxW". Raises BadInput."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if match is None:
        raise BadInput(f"--size {text}: write HEIGHTxWIDTH, such as 360x480")
    return int(match[1]), int(match[2])


def shapes_from_text(low: str | None, usual: str | None, high: str | None) -> ShapeRange | None:
    """The range of an open size from trtexec's NAME:1x360x480x3, None where none is given. Raises BadInput."""
    from fcn_edge.engines.trt import ShapeRange

    given = [text for text in (low, usual, high) if text is not None]
    if not given:
        return None
    if len(given) < 3:
        raise BadInput("--min-shapes, --opt-shapes and --max-shapes belong together: give all three")
    matches = [re.fullmatch(r"([^:]+):(\d+(?:x\d+)*)", text) for text in given]
    if not all(matches) or len({match[1] for match in matches if match}) != 1:
        raise BadInput(f"shapes {' '.join(given)}: write NAME:1x360x480x3, with the same input's name in each")
    sizes = [tuple(map(int, match[2].split("x"))) for match in matches if match]
    return ShapeRange(matches[0][1], *sizes)  # type: ignore[index]


def sm_from_text(text: str | None) -> tuple[int, ...]:
    """Compute capabilities from "86,89". Raises BadInput."""
    if text is None:
        return ()
    parts = [part.strip().replace(".", "") for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise BadInput(f"--sm {text}: write capabilities like 86,89,120")
    return tuple(int(part) for part in parts)


def require_suffix(out: Path, suffix: str, what: str, *, option: str = "--out") -> None:
    """Raises BadInput where the name of `out` does not end in `suffix`."""
    if out.suffix != suffix:
        raise BadInput(f"{option} {out}: {what} ends in {suffix}, such as {out.stem or 'net'}{suffix}")
