"""Deterministic synthetic street video with a CamVid label for every pixel."""

from .classes import CLASSES, PALETTE
from .scene import Street

__all__ = ["CLASSES", "PALETTE", "Street"]
