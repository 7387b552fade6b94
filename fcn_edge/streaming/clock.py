"""What time it is in a stream: that of the recording, or that of the world where the source is live."""

from __future__ import annotations

from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source

FPS_OF_IMAGES = 10.0  # how fast a folder of pictures counts as passing


class StreamClock:
    """Seconds of a source's frames, from some beginning. A recording keeps its own time however fast it is read."""

    def __init__(self, source: Source) -> None:
        self.fps = source.fps or FPS_OF_IMAGES
        self._has_speed, self._is_live = source.fps is not None, source.is_live

    def seconds(self, frame: Frame) -> float:
        """Of a video as its container has it; of other recordings by the frame's index."""
        if self._is_live:
            return frame.captured_ns / 1e9
        return frame.index / self.fps if frame.presented_s is None else frame.presented_s

    def has_time(self, frame: Frame) -> bool:
        """Whether the source itself tells when the frame is due; a folder of pictures does not."""
        return self._is_live or self._has_speed or frame.presented_s is not None
