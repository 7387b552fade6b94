"""Load the compiled kernels, if they were built."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcn_edge._native import Workspace as NativeWorkspace

__all__ = ["NativeWorkspace", "native_kernels"]

log = logging.getLogger(__name__)


@functools.cache
def native_kernels() -> ModuleType | None:
    """The compiled `fcn_edge._native`, or None with one warning if it was not built."""
    if importlib.util.find_spec("fcn_edge._native") is None:
        log.warning("the native kernels are not built: class maps are drawn by numpy, which is slower")
        return None
    return importlib.import_module("fcn_edge._native")
