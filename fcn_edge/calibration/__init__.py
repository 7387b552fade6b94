"""From an fp32 ONNX file and real images to lower-precision files."""

from fcn_edge.calibration.collect import table_from_images
from fcn_edge.calibration.coverage import Coverage, coverage_from_table
from fcn_edge.calibration.images import CalibrationImages, images_from_source
from fcn_edge.calibration.methods import METHODS
from fcn_edge.calibration.quantized import Calibrated, int8_from_onnx, quantized_file
from fcn_edge.calibration.table import CalibrationTable, table_from_file

__all__ = [
    "METHODS",
    "Calibrated",
    "CalibrationImages",
    "CalibrationTable",
    "Coverage",
    "coverage_from_table",
    "images_from_source",
    "int8_from_onnx",
    "quantized_file",
    "table_from_file",
    "table_from_images",
]
