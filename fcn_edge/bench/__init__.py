"""Latency against mIoU: every precision on every engine, in one run, alternating."""

from fcn_edge.bench.record import BenchOptions, Variant, record_from_engines, variants_from_files
from fcn_edge.bench.report import report_folder, write_report

__all__ = ["BenchOptions", "Variant", "record_from_engines", "report_folder", "variants_from_files", "write_report"]
