"""What this machine can run, problems found, and what to do about them."""

from fcn_edge.diagnosis.checks import Diagnosis, diagnose
from fcn_edge.diagnosis.machine import Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
