"""Fail a pipeline where accuracy or speed fell below a stored baseline.

python 10_gate_in_ci.py RECORD.json BASELINE.json
"""

import sys

import fcn_edge as fe

verdict = fe.gate(sys.argv[1], sys.argv[2])
for check in verdict.checks:
    print(f"{check.name}: {check.value} (baseline {check.baseline}, limit {check.limit})")
print(verdict.verdict)
sys.exit(verdict.exit_code)
