"""An audit in a process of its own, with a log of the films that the model read: what the tests kill.

`python tests/audit_run.py SOURCE OUT LOG`; a line of LOG is the process that reads, and the film.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medinterp.audit.looking import Looked
from medinterp.audit.machine import running_ray
from medinterp.audit.pipeline import ModelActor, Room, run
from medinterp.audit.places import place_of
from medinterp.audit.reader import Asked, Reader
from medinterp.audit.rows import Rows
from medinterp.audit.source import read_source

SLOWLY_S = 0.15
"""So long a film takes at least: whoever kills is to have a chance."""


def audit(source: str, out: str, log: str) -> None:
    class LoggedReader(Reader):
        def read(self, looked: Sequence[Looked]) -> list[Rows]:
            with Path(log).open("a") as file:
                file.writelines(f"{os.getpid()} {one.row['film_id']}\n" for one in looked if one.film is not None)
            time.sleep(SLOWLY_S * len(looked))
            return super().read(looked)

    class LoggedActor(ModelActor):
        reader_class: type[Any] = LoggedReader

    archive = read_source(source)
    asked = Asked("phantom", ("raw",), max_new_tokens=64, columns=archive.columns, threads=1)
    with running_ray(object_store_bytes=200 * 2**20):
        run(archive, place_of(out), asked, Room(batch=1, cpus=0.5), actor=LoggedActor)


if __name__ == "__main__":
    audit(*sys.argv[1:])
