"""The verb `models`."""

from __future__ import annotations

from typing import Any

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_table


@verb
def models(json: JsonOption = False) -> None:
    """List the networks that can be trained, with their cost.

    \b
    Example:
      fcn-edge models
    """
    from fcn_edge.engines import require_package

    require_package("pytorch")
    from fcn_edge.models.summary import network_summaries

    rows = network_summaries()
    emit({"networks": rows}, as_json=json, human=lambda: _print_networks(rows))


def _print_networks(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("network", "input", "stride", "skips", "parameters", "GMAC", "what")
    for row in rows:
        size, skips = f"{row['height']}x{row['width']}", " ".join(row["skips"]) or "none"
        cost = f"{row['parameters'] / 1e6:.2f} M", f"{row['gmac']:.2f}"
        table.add_row(row["name"], size, str(row["stride"]), skips, *cost, row["title"])
    print_table(table)
