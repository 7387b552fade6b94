"""Deterministic synthetic street video with a CamVid label for every pixel."""

from fcn_edge.data.camvid import CLASSES, PALETTE

from .scene import Street

__all__ = ["CLASSES", "PALETTE", "Street"]
