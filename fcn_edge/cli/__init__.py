"""The command line: `fcn-edge VERB`, one module per verb.

A verb's module parses its options, calls the library and prints the result. It imports the library inside its
function, so that --help stays quick.
"""

from __future__ import annotations

from fcn_edge.cli._app import app, main, register_verbs

__all__ = ["app", "main", "register_verbs"]
