"""Where a pixel of one grid lies on another: resizing, padding, cropping and strides as one value.

An `Axis` maps the index of a pixel of the frame to a (fractional) index of a cell of the
score map: `cell = scale * pixel + offset`. Indices count from 0 and point at the *centre*
of a pixel or cell. Every resize, letterbox, padding, crop and stride in this project is
built from the functions below and composed; no other module knows about half pixels.
Reading beyond the first or last cell repeats that cell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One axis of a Sampling: `cell = scale * pixel + offset` for pixels 0 .. valid - 1."""

    scale: float
    offset: float
    valid: int

    def then(self, inner: Axis) -> Axis:
        """This map followed by `inner`: pixel -> (self) -> (inner); the pixels stay self's."""
        return Axis(self.scale * inner.scale, inner.scale * self.offset + inner.offset, self.valid)

    def cell(self, pixel: float) -> float:
        """The fractional cell index that `pixel` looks at, before clamping to the map."""
        return self.scale * pixel + self.offset


@dataclass(frozen=True)
class Sampling:
    """Maps pixels of an (y.valid, x.valid) frame to cells of a map."""

    y: Axis
    x: Axis

    def then(self, inner: Sampling) -> Sampling:
        """This sampling followed by `inner`."""
        return Sampling(self.y.then(inner.y), self.x.then(inner.x))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the frame that this sampling is valid for."""
        return self.y.valid, self.x.valid

    def with_size(self, height: int, width: int) -> Sampling:
        """The same map for a frame of another size (networks of free input size)."""
        y, x = self.y, self.x
        return Sampling(Axis(y.scale, y.offset, height), Axis(x.scale, x.offset, width))


def stretch(pixels: int, cells: int) -> Axis:
    """Half-pixel resize of `pixels` to `cells` (cv2.INTER_LINEAR, torch align_corners=False)."""
    scale = cells / pixels
    return Axis(scale, 0.5 * scale - 0.5, pixels)


def align_corners(pixels: int, cells: int) -> Axis:
    """Resize that maps first to first and last to last centre (torch align_corners=True)."""
    return Axis((cells - 1) / (pixels - 1) if pixels > 1 else 0.0, 0.0, pixels)


def shift(pixels: int, by: float) -> Axis:
    """Pixel p lies at p + by: `by` pixels of padding before the frame, or minus a crop."""
    return Axis(1.0, by, pixels)


def stride(pixels: int, step: int) -> Axis:
    """Cells that each cover `step` pixels; padding behind the last pixel leaves the map as it is."""
    return Axis(1.0 / step, 0.5 / step - 0.5, pixels)


def letterbox(pixels: int, content: int, before: int) -> Axis:
    """`pixels` resized to `content` cells with `before` cells of border in front."""
    return stretch(pixels, content).then(shift(content, before))


def letterbox_content(frame: tuple[int, int], network: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a frame (h, w) lands in a network input (H, W): content height, width, top, left."""
    ratio = min(network[0] / frame[0], network[1] / frame[1])
    height = max(1, min(network[0], round(frame[0] * ratio)))
    width = max(1, min(network[1], round(frame[1] * ratio)))
    return height, width, (network[0] - height) // 2, (network[1] - width) // 2


def frame_sampling(frame: tuple[int, int], network: tuple[int, int], resize: str) -> Sampling:
    """Frame pixel -> pixel of the network's input, for `resize` "stretch" or "letterbox"."""
    if resize == "stretch":
        return Sampling(stretch(frame[0], network[0]), stretch(frame[1], network[1]))
    height, width, top, left = letterbox_content(frame, network)
    return Sampling(letterbox(frame[0], height, top), letterbox(frame[1], width, left))


PAD100_LAST_CROP = {32: 19, 16: 27, 8: 31}  # of the original's FCN-32s, 16s and 8s


def pad100(pixels: int, step: int) -> Axis:
    """Pixel -> cell of the fused score map at stride `step` of the original FCN-32s, 16s or 8s.

    The last deconvolution (kernel 2s, stride s, no padding) puts cell j at pixel sj + s - 0.5
    of its output, which is then cropped. The pooled maps agree: conv1_1 pads by 100, so its
    output 0 is centred on pixel -99, and cell j of pool3 lies at 8j + 3.5 - 99, 9 cells cropped.
    Source: Shelhamer, Long, Darrell, "Fully Convolutional Networks for Semantic Segmentation",
    PAMI 2017, released voc-fcn32s, voc-fcn16s and voc-fcn8s.
    """
    return Axis(1 / step, (PAD100_LAST_CROP[step] + 0.5 - step) / step, pixels)


def padded_to(pixels: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `pixels`."""
    return -(-pixels // step) * step
