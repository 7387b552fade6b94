"""ONNX Runtime's providers for NVIDIA GPUs. By default it falls back to the CPU without an error.

So availability is checked before a session is created, CPU fallback is disabled, and the providers of the session
are read back. `onnxruntime-gpu` contains CUDA and TensorRT; `onnxruntime-ep-nv-tensorrt-rtx` is a plugin of the
plain `onnxruntime`.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from fcn_edge.errors import BackendMissing, BadInput, first_line
from fcn_edge.targets import Provider

CPU = "CPUExecutionProvider"
NAMES: dict[Provider, str] = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "nv-tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
PLUGINS: dict[Provider, str] = {"nv-tensorrt-rtx": "onnxruntime_ep_nv_tensorrt_rtx"}
_GPU_PACKAGE = "pip uninstall onnxruntime, then pip install onnxruntime-gpu (both write the same package)"
_INSTALL: dict[Provider, str] = {
    "cuda": _GPU_PACKAGE,
    "tensorrt": f"{_GPU_PACKAGE} and tensorrt",
    "nv-tensorrt-rtx": "pip install onnxruntime-ep-nv-tensorrt-rtx (with onnxruntime 1.24 or later, not -gpu)",
}
_NEEDS: dict[Provider, str] = {
    "cuda": "the CUDA and cuDNN that this onnxruntime-gpu was built for",
    "tensorrt": "the TensorRT, CUDA and cuDNN that this onnxruntime-gpu was built for",
    "nv-tensorrt-rtx": "an RTX GPU, Ampere or later, its driver, and the CUDA runtime library (libcudart)",
}
# The default multiplies fp32 with 10-bit mantissas.
_OPTIONS: dict[Provider, dict[str, str]] = {"cuda": {"use_tf32": "0"}}
_NO_FALLBACK = "session.disable_cpu_ep_fallback"


def gpu_session(model: str | bytes, name: str, options: Any, provider: Provider) -> Any:
    """A session in which every node runs with `provider`.

    Raises:
        BackendMissing: this installation does not have the provider, or it does not start.
        BadInput: it starts, but cannot run the file or some of its nodes.
    """
    import onnxruntime

    wanted, named = NAMES[provider], {}
    options.add_session_config_entry(_NO_FALLBACK, "1")
    if wanted in onnxruntime.get_available_providers():
        named = {"providers": [(wanted, _OPTIONS.get(provider, {}))]}
    else:
        devices = _plugin_devices(provider)
        wanted = devices[0].ep_name
        options.add_provider_for_devices(devices, {})
    try:
        session = onnxruntime.InferenceSession(model, options, **named)
    except Exception as error:  # its pybind exceptions share no base class but Exception
        raise _refusal(name, provider, first_line(error)) from error
    if wanted not in session.get_providers():
        raise BackendMissing(
            f"ONNX Runtime selected {', '.join(session.get_providers())} instead of {wanted}, which did not start: it"
            f" needs {_NEEDS[provider]}; see fcn-edge doctor"
        )
    return session


def _refusal(name: str, provider: Provider, reason: str) -> BackendMissing | BadInput:
    """The error for a failed session: the provider does not start, or it cannot run the file."""
    if "CPU EP" in reason:  # the message if fallback is disabled, also if the provider did not start
        return BackendMissing(
            f"{name}: ONNX Runtime would run it on the CPU, not with {NAMES[provider]}: the provider did not start"
            f" (it needs {_NEEDS[provider]}) or cannot run some nodes ({reason}); see fcn-edge doctor"
        )
    if any(word in reason for word in ("CUDA", "cuda", "libcu", "libnv", "driver")):
        return BackendMissing(
            f"{NAMES[provider]} does not start ({reason}): it needs {_NEEDS[provider]}; see fcn-edge doctor"
        )
    return BadInput(f"{name}: ONNX Runtime cannot load this file with {NAMES[provider]} ({reason})")


def _plugin_devices(provider: Provider) -> list[Any]:
    """The devices of a provider that is a separate package."""
    import onnxruntime

    missing = f"this ONNX Runtime ({onnxruntime.__version__}) has no {NAMES[provider]}; {_INSTALL[provider]}"
    module = PLUGINS.get(provider)
    if module is None or find_spec(module) is None:
        raise BackendMissing(missing)
    plugin = importlib.import_module(module)
    name = plugin.get_ep_name()
    try:
        if not any(device.ep_name == name for device in onnxruntime.get_ep_devices()):
            onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    except Exception as error:  # as above; older versions of onnxruntime do not have these functions
        reason = str(error).rpartition("with error: ")[2]  # drop the long path of its library
        raise BackendMissing(f"{module} does not load ({reason.strip()}); it needs {_NEEDS[provider]}") from error
    if not devices:
        raise BackendMissing(f"{name} finds no device: it needs {_NEEDS[provider]}; see fcn-edge doctor")
    return devices
