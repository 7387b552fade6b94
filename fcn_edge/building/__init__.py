"""Parts of `fcn_edge.build`: what is asked for, and the manifest of the result."""
