"""Open sources and sinks from addresses, paths, objects, arrays and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Result
from fcn_edge.streaming.sinks import Sink, SinkOptions, sinks_of_sources
from fcn_edge.streaming.sinks.callback import Callback
from fcn_edge.streaming.sources import Patience, Source, source_from_dataset, source_from_path, source_from_uri
from fcn_edge.streaming.sources.arrays import ArraySource

SourceLike: TypeAlias = "int | str | Path | Source | Dataset | Iterable[np.ndarray]"
SinkLike: TypeAlias = "str | Path | Sink | Callable[[Result], object]"


def opened_sources(
    source: SourceLike | Sequence[SourceLike],
    ends: ExitStack,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> list[Source]:
    """Open one or several sources; what is opened here is closed with `ends`.

    Raises:
        BadInput: not a source. SourceLost: a camera or stream gives no image.
    """
    if isinstance(source, (list, tuple)):
        if not source:
            raise BadInput("`source` is empty; pass a camera number, a file, a folder, an address or images")
        if all(isinstance(one, (int, str, Path, Source, Dataset)) for one in source):
            return [_opened_source(one, ends, patience) for one in source]
    return [_opened_source(source, ends, patience)]


def _opened_source(source: object, ends: ExitStack, patience: Patience) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, (int, str)) and not isinstance(source, bool):
        return ends.enter_context(source_from_uri(str(source), patience))
    if isinstance(source, Path):
        return ends.enter_context(source_from_path(source, patience))
    if isinstance(source, Dataset):
        return ends.enter_context(source_from_dataset(source))
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise BadInput(f"`source` is {source.dtype}{source.shape}, not images (N, H, W, 3); pass one image as [image]")
    if isinstance(source, Iterable) and not isinstance(source, (dict, bytes)):
        return ends.enter_context(ArraySource(source))
    expected = "a camera number, an address, a path, a data set or an iterable of images (H, W, 3) uint8"
    raise BadInput(f"`source` is {type(source).__name__}; expected {expected}")


def opened_sinks(
    sinks: SinkLike | Sequence[SinkLike],
    engine: Engine,
    sources: Sequence[Source],
    ends: ExitStack,
    options: SinkOptions,
) -> tuple[list[list[Sink]], list[Sink]]:
    """(sinks opened for each source and closed with `ends`, open sinks and functions shared by all sources).

    Raises:
        BadInput: an unknown sink, or one that would overwrite an input. BackendMissing: it cannot be opened here.
    """
    each = list(sinks) if isinstance(sinks, (list, tuple)) else [sinks]
    names = [_uri_from_path(sink) if isinstance(sink, Path) else sink for sink in each if isinstance(sink, (str, Path))]
    given = [_open_sink(sink, number) for number, sink in enumerate(each) if not isinstance(sink, (str, Path))]
    return sinks_of_sources(names, engine, sources, ends, options=options), given


def _uri_from_path(path: Path) -> str:
    """The address of a path in `sinks`: without a suffix it is a folder, which ends in a slash."""
    return str(path) if path.suffix else f"{path}/"


def _open_sink(sink: object, number: int) -> Sink:
    if isinstance(sink, Sink):
        return sink
    if callable(sink):
        return Callback(sink, number)
    raise BadInput(
        f"`sinks` contains {type(sink).__name__}; expected an address, a path, a Sink or a function of a Result"
    )
