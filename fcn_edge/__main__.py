"""`python -m fcn_edge` is `fcn-edge`."""

from fcn_edge.cli import main

if __name__ == "__main__":
    main()
