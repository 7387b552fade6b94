"""Networks for servers: a folder for DeepStream's nvinfer, a model of a Triton repository."""

from fcn_edge.deploy.deepstream import DeepStreamFolder, deepstream_from_onnx
from fcn_edge.deploy.triton import TritonModel, triton_from_engine, triton_from_onnx

__all__ = ["DeepStreamFolder", "TritonModel", "deepstream_from_onnx", "triton_from_engine", "triton_from_onnx"]
