"""Options that several verbs share, as types of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fcn_edge.choices import Method, TargetOrAuto
from fcn_edge.targets import Provider

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="Checkpoint, ONNX file, engine directory or packaged name [packaged network]."
    ),
]
AllowHostCodeOption = Annotated[
    bool, typer.Option("--allow-host-code", help="Load a TensorRT plan that carries programs of its own.")
]
AllowOverlapOption = Annotated[
    bool, typer.Option("--allow-overlap", help="Calibration images may be among those of --data.")
]
CalibOption = Annotated[
    str | None, typer.Option("--calib", help="Calibration images: folder, glob, video, data set, TOML or table.")
]
CalibImagesOption = Annotated[
    int | None, typer.Option("--images", min=1, help="Number of calibration images, evenly spread [100].")
]
ClusterOption = Annotated[
    Literal["ray"] | None, typer.Option("--cluster", help="Spread over the cluster at RAY_ADDRESS, or this machine.")
]
ExecutionOption = Annotated[
    Literal["f32", "bf16"] | None, typer.Option("--execution", help="Arithmetic of float layers [f32].")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")
]
MethodOption = Annotated[
    Method | None, typer.Option("--method", help="How a scale follows from a tensor's range [percentile].")
]
ProviderOption = Annotated[
    Provider, typer.Option("--provider", help="Execution provider of ONNX Runtime (--target onnxruntime).")
]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help="Network of a plain state dict (fcn-edge models lists them).")
]
ScheduleOption = Annotated[
    str,
    typer.Option("--schedule", help="When stages run over a video: fixed:K, fixed:1,2,4, adaptive:T."),
]
SpecOption = Annotated[Path | None, typer.Option("--spec", help="TOML that describes an ONNX file made elsewhere.")]
TargetOption = Annotated[TargetOrAuto, typer.Option("--target", help="Engine to run on.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the engine's compute.")]
