"""Frames from a source through an engine into sinks: `pipeline` is the loop, `sources` and `sinks` its ends."""
