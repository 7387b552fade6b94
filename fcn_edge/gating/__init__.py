"""A verdict for CI from two records: did accuracy, speed, size or memory get worse than allowed?

Knows nothing of engines, data or images: two JSON files are enough.
"""

from fcn_edge.gating.check import Check
from fcn_edge.gating.limits import Limits, limits_from_file
from fcn_edge.gating.reporters import annotations_of, junit_of, summary_of
from fcn_edge.gating.verdict import Verdict, updated_baseline, verdict_from_records

__all__ = [
    "Check",
    "Limits",
    "Verdict",
    "annotations_of",
    "junit_of",
    "limits_from_file",
    "summary_of",
    "updated_baseline",
    "verdict_from_records",
]
