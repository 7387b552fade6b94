"""From an fp32 ONNX file and real images to lower-precision files."""

from fcn_edge.calib.files import Calibrated, int8_from_onnx, quantized_file
from fcn_edge.calib.images import CalibrationImages, images_from_source
from fcn_edge.calib.table import METHODS, CalibrationTable, table_from_file, table_from_images

__all__ = [
    "METHODS",
    "Calibrated",
    "CalibrationImages",
    "CalibrationTable",
    "images_from_source",
    "int8_from_onnx",
    "quantized_file",
    "table_from_file",
    "table_from_images",
]
