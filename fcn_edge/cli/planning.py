"""How a TensorRT plan is to be built, in trtexec's words; nothing heavy is imported before it is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.errors import BadInput

if TYPE_CHECKING:
    from fcn_edge.engines.trt import ShapeRange

Sm = Annotated[str | None, typer.Option("--sm", help="TensorRT-RTX: capabilities such as 86,89,120.")]
Workspace = Annotated[int | None, typer.Option("--workspace", min=1, help="MB that the TensorRT builder may use.")]
OptimisationLevel = Annotated[
    int | None, typer.Option("--builder-optimization-level", min=0, max=5, help="TensorRT's, 0 fast to 5 thorough [3].")
]
TimingCache = Annotated[
    Path | None, typer.Option("--timing-cache-file", help="TensorRT: kernel timings to start from, and to keep.")
]
MinShapes = Annotated[str | None, typer.Option("--min-shapes", help="NAME:1x64x64x3, smallest of an open size.")]
OptShapes = Annotated[str | None, typer.Option("--opt-shapes", help="The usual one.")]
MaxShapes = Annotated[str | None, typer.Option("--max-shapes", help="The largest one.")]
VersionCompatible = Annotated[
    bool, typer.Option("--version-compatible", help="TensorRT: newer minor versions run it; it carries host code.")
]
HardwareCompatibility = Annotated[
    str | None, typer.Option("--hardware-compatibility-level", help="TensorRT: ampere+ or sameComputeCapability.")
]
Sparsity = Annotated[bool, typer.Option("--sparsity", help="TensorRT: use 2:4 sparse weights where they are.")]


def shapes_from_text(low: str | None, usual: str | None, high: str | None) -> ShapeRange | None:
    """The range of an open size in trtexec's words, None where none is given. Raises BadInput."""
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
