"""What time it is in a stream: that of the recording, or that of the world where the source is live."""

from __future__ import annotations

from fcn_edge.frame import Frame
from fcn_edge.stream.sources.base import Source

FPS_OF_IMAGES = 10.0  # how fast a folder of pictures counts as passing


class StreamClock:
    """Seconds of a source's frames, from some beginning. A recording keeps its own time however fast it is read."""

    def __init__(self, source: Source) -> None:
        self.fps = source.fps or FPS_OF_IMAGES
        self._is_live = source.is_live

    def seconds(self, frame: Frame) -> float:
        return frame.captured_ns / 1e9 if self._is_live else frame.index / self.fps
