"""Regions of the image, shares of classes in them, and rules on these shares."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.frame import Result
from fcn_edge.schema import nearest
from fcn_edge.spec import ModelSpec, class_index

RULE = re.compile(
    r"(?P<classes>.+?)(?:\s+in\s+(?P<region>\S+))?\s*(?P<sign>[<>])\s*(?P<percent>\d+(?:\.\d+)?)\s*%"
    r"(?:(?:\s+for\s+|\s*@\s*)(?P<seconds>\d+(?:\.\d+)?)\s*s)?"
)
GAP_S = 2.0  # without a frame of a live stream for longer, a rule's duration starts again


@dataclass(frozen=True)
class Region:
    """A polygon. points: (x, y) as fractions of the image's width and height, 0..1."""

    name: str
    points: tuple[tuple[float, float], ...]

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool: pixels whose centre is inside (even-odd rule), for an image of this size."""
        height, width = size
        inside = np.zeros(size, bool)
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        for (x0, y0), (x1, y1) in zip(self.points, (*self.points[1:], self.points[0])):
            crossed = (y0 * height <= rows) != (y1 * height <= rows)  # rows that this edge crosses
            slope = (x1 - x0) * width / ((y1 - y0) * height or 1)
            at = x0 * width + (rows - y0 * height) * slope  # (H,) x of the crossing
            inside ^= crossed[:, None] & (columns < at[:, None])
        return inside


@dataclass(frozen=True)
class Rule:
    """A limit on a share in a region for some seconds. text: its source text; region: None for the complete image."""

    text: str
    classes: tuple[int, ...]
    region: str | None
    is_above: bool
    share: float
    seconds: float


def region_from_text(text: str) -> Region:
    """A region from "NAME=x,y x,y x,y". Raises BadInput."""
    name, equals, corners = text.partition("=")
    wanted = (
        f"region {text!r}: write NAME=x,y x,y x,y as fractions of width and height, e.g. door=0.1,0.2 0.5,0.2 0.5,1"
    )
    if not equals or not re.fullmatch(r"\w[\w-]*", name):
        raise BadInput(wanted)
    try:
        points = [tuple(float(value) for value in corner.split(",")) for corner in corners.split()]
    except ValueError as error:
        raise BadInput(wanted) from error
    return region_from_points(name, points)


def region_from_points(name: str, points: Sequence[Sequence[float]]) -> Region:
    """A region from its corners. Raises BadInput unless they enclose an area within the image."""
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise BadInput(f"region {name}: {len(points)} corners; a region needs three or more, each x,y")
    outside = [point for point in points if not all(0 <= value <= 1 for value in point)]
    if outside:
        x, y = outside[0]
        raise BadInput(
            f"region {name}: {x:g},{y:g} is outside the image; corners are fractions of its width and height, 0..1"
            " (pixel x of an image of width W is x / W)"
        )
    if abs(cv2.contourArea(np.array(points, np.float32))) < 1e-6:
        raise BadInput(f"region {name}: its corners enclose no area")
    return Region(name, tuple((float(x), float(y)) for x, y in points))


def require_distinct(regions: Sequence[Region]) -> None:
    """Raises BadInput if two regions have the same name."""
    names = [region.name for region in regions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"region {', '.join(twice)}: defined twice")


def rule_from_text(text: str, spec: ModelSpec, regions: Sequence[Region]) -> Rule:
    """A rule from "CLASS[+CLASS] [in REGION] > PERCENT% [for SECONDS s]". Raises BadInput."""
    match = RULE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"rule {text!r}: write CLASS > PERCENT%, such as 'person > 5%' or 'car in door > 20% for 2s'")
    percent = float(match["percent"])
    if percent > 100 or (percent == 100 and match["sign"] == ">"):
        raise BadInput(f"rule {text!r}: a share cannot exceed 100 %")
    names = [region.name for region in regions]
    if match["region"] and match["region"] not in names:
        hint = nearest(match["region"], names) if names else "; define it as NAME=x,y x,y x,y"
        raise BadInput(f"rule {text!r}: unknown region {match['region']!r}{hint}")
    classes = tuple(class_index(spec, name.strip()) for name in match["classes"].split("+"))
    seconds = float(match["seconds"] or 0)
    return Rule(text.strip(), classes, match["region"], match["sign"] == ">", percent / 100, seconds)


class Cover:
    """Shares of each class in regions, among the pixels that are not ignored."""

    def __init__(self, regions: Sequence[Region], ignored: Sequence[int]) -> None:
        self._regions, self._ignored = regions, list(ignored)
        self._size: tuple[int, int] | None = None
        self._masks: dict[str, tuple[tuple[slice, slice], np.ndarray]] = {}

    def shares(self, result: Result) -> dict[str | None, np.ndarray]:
        """(C,) float64 for the complete image (None) and for each region by name; all 0 if every pixel is ignored."""
        size = result.class_map.shape[0], result.class_map.shape[1]
        if size != self._size:
            self._size, self._masks = size, {region.name: _cropped(region.mask(size)) for region in self._regions}
        counts: dict[str | None, np.ndarray] = {None: result.pixels_per_class}
        for name, (box, mask) in self._masks.items():
            counts[name] = np.bincount(result.class_map[box][mask], minlength=len(result.pixels_per_class))
        return {name: self._shares_of(count) for name, count in counts.items()}

    def _shares_of(self, counts: np.ndarray) -> np.ndarray:
        counts = counts.astype(np.float64)
        counts[self._ignored] = 0
        return counts / max(1.0, counts.sum())


def _cropped(mask: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The bounding box of a mask, and the mask cropped to it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (slice(0), slice(0)), mask[:0, :0]
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return box, mask[box]


@dataclass(frozen=True)
class Change:
    """Start or end of a rule's event. share: current share; since_s: stream time of the first frame of the change."""

    rule: Rule
    has_begun: bool
    share: float
    since_s: float


class Watch:
    """One rule on one stream. An event begins after the rule held for `seconds`, and ends after it did not for as long.

    gap_s: a longer time without frames restarts the duration; infinite for recordings (a frame lasts until the next).
    """

    def __init__(self, rule: Rule, gap_s: float = GAP_S) -> None:
        self.rule, self.holds = rule, False
        self._gap_s = max(gap_s, rule.seconds)
        self._differs_since: float | None = None
        self._last: float | None = None

    def see(self, share: float, now_s: float) -> Change | None:
        """The change, if any, caused by this share at this stream time."""
        was_gone = self._last is not None and now_s - self._last > self._gap_s
        self._last = now_s
        fulfils = share > self.rule.share if self.rule.is_above else share < self.rule.share
        if fulfils == self.holds:
            self._differs_since = None
            return None
        if self._differs_since is None or was_gone:
            self._differs_since = now_s
        if now_s - self._differs_since < self.rule.seconds:
            return None
        since, self._differs_since = self._differs_since, None
        self.holds = fulfils
        return Change(self.rule, fulfils, share, since)


class Watches:
    """All rules on one stream."""

    def __init__(self, rules: Sequence[Rule], *, is_live: bool) -> None:
        self._each = [Watch(rule, GAP_S if is_live else float("inf")) for rule in rules]

    def see(self, shares: Mapping[str | None, np.ndarray], now_s: float, tell: Callable[[Change], None]) -> None:
        for watch in self._each:
            change = watch.see(float(shares[watch.rule.region][list(watch.rule.classes)].sum()), now_s)
            if change is not None:
                tell(change)
