"""Latency against mIoU: every precision on every engine, in one run, alternating."""

from fcn_edge.benchmark.record import record_from_engines
from fcn_edge.benchmark.report import report_folder, write_report
from fcn_edge.benchmark.timing import BenchOptions
from fcn_edge.benchmark.variants import Variant, precision_label, variants_from_files, with_schedules

__all__ = [
    "BenchOptions",
    "Variant",
    "precision_label",
    "record_from_engines",
    "report_folder",
    "variants_from_files",
    "with_schedules",
    "write_report",
]
