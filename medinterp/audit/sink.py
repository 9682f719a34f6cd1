"""Where Ray Data writes: a film's rows, its words' and its failure in one step, and what a step that was cut off left.

Ray Data's checkpoint writes the films' ids of a step down as pending, lets the step write its files, all called alike,
and then renames the ids to committed. On a restart the committed ones are not read again, and the files of a pending
step are taken away.
"""

from __future__ import annotations

import posixpath
from typing import Any

from pyarrow import fs
from ray.data.block import BlockAccessor
from ray.data.checkpoint import CheckpointConfig, IdColumnCheckpointManager
from ray.data.datasource import BlockBasedFileDatasink

from medinterp.audit.places import Place
from medinterp.audit.rows import unpacked_rows
from medinterp.audit.tables import FAILURE_PARTS, FILMS, WORDS, write_part

CHECKPOINT = "state/checkpoint"
PENDING = ".pending.parquet"


class AuditSink(BlockBasedFileDatasink):
    """Writes the rows of some films as files of one name in the tables' folders."""

    def __init__(self, place: Place, films_per_file: int) -> None:
        super().__init__(
            place.path, filesystem=place.filesystem, min_rows_per_file=films_per_file, file_format="parquet"
        )
        self.place = place

    def write_block(self, block: BlockAccessor, block_index: int, ctx: Any) -> None:
        """Write a step's files; a step that is done again writes the same ones."""
        name = self.filename_provider.get_filename_for_task(ctx.kwargs["write_uuid"], ctx.task_idx)
        rows = unpacked_rows(block.to_arrow())
        write_part(self.place, name.removesuffix(".parquet"), rows.film, rows.words, rows.failure)


class AuditCheckpoints(IdColumnCheckpointManager):
    """Takes away what a step that was cut off has written.

    Ray's own way looks through the whole folder, where the checkpoint lies too: it would take a pending checkpoint for
    a file of rows, and begin anew where that is gone and the rows are not.
    """

    def _clean_pending_checkpoints(self, data_file_dir: str | None, data_file_filesystem: Any = None) -> None:
        assert data_file_dir is not None
        take_away_pending(Place(self.filesystem, data_file_dir))


def take_away_pending(place: Place) -> int:
    """Delete the files of pending steps, and then what says that they were pending; returns how many steps."""
    pending = {
        posixpath.basename(path).removesuffix(PENDING): path
        for path in _files(place, CHECKPOINT)
        if path.endswith(PENDING)
    }
    if pending:
        for folder in (FILMS, WORDS, FAILURE_PARTS):
            for path in _files(place, folder):
                if posixpath.basename(path).removesuffix(".parquet") in pending:
                    place.filesystem.delete_file(path)
        for path in pending.values():
            place.filesystem.delete_file(path)
    return len(pending)


def checkpoint(place: Place) -> CheckpointConfig:
    """Ray Data's checkpoint in the audit's folder: it stays there, so that later films are read on their own."""
    config = CheckpointConfig(
        "film_id",
        place.below(CHECKPOINT),
        override_filesystem=place.filesystem,
        delete_checkpoint_on_success=False,
        checkpoint_manager_cls=AuditCheckpoints,
    )
    config.checkpoint_actor_memory_bytes = 64 * 2**20  # ids alone, and Ray adds what they take
    config.checkpoint_actor_pool_max_size = 1
    return config


def _files(place: Place, folder: str) -> list[str]:
    chosen = fs.FileSelector(place.below(folder), recursive=True, allow_not_found=True)
    return [info.path for info in place.filesystem.get_file_info(chosen) if info.type == fs.FileType.File]
