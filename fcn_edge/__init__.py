"""fcn-edge."""
