"""Print the README's tables of load and faults.

Each part starts a service of its own. Give names of parts to run some of them only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

PARTS = ("load", "kills", "outages", "scaling", "memory", "footprint")


def main() -> None:
    """Run the parts in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--seconds", type=float, default=30, help="of each line of the load")
    parser.add_argument("--requests", type=int, default=200, help="of each of the 8 clients under kills")
    parser.add_argument("--reports", type=int, default=1000, help="while memory is watched")
    options = parser.parse_args()

    from tests.faults.footprint import footprint
    from tests.faults.kills import kills
    from tests.faults.load import load
    from tests.faults.memory import memory
    from tests.faults.outages import outages
    from tests.faults.scaling import scaling

    run: dict[str, Callable[[], None]] = {
        "load": lambda: load(options.seconds),
        "kills": lambda: kills(options.requests),
        "outages": outages,
        "scaling": scaling,
        "memory": lambda: memory(options.reports),
        "footprint": footprint,
    }
    for part in options.parts or PARTS:
        run[part]()


if __name__ == "__main__":
    main()
