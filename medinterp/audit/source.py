"""What is audited: the films of a folder, of a table or of an object store, each with what is known about it."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from pyarrow import fs

from medinterp.audit.places import Place, place_of
from medinterp.errors import DatasetError

PATHS = ("path", "film", "file", "image")
IDS = ("id", "film_id")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""A file of a folder that is called so is taken for a film whatever is in it: a broken one is to be told."""
NAMING = re.compile(r"patient_?name|^name$|birth|^dob$|address|phone|e_?mail|mrn|accession|ssn", re.IGNORECASE)
"""Columns that name a patient: they are left behind."""
HEADER_COLUMNS = (pa.field("view", pa.string()), pa.field("sex", pa.string()), pa.field("age", pa.int32()))
"""What a DICOM tree's own headers say of each film, in place of a table's columns."""
_APART = re.compile(r"[|;,]")


@dataclass(frozen=True)
class Archive:
    """Films that are to be read.

    films: film_id, path (relative to `place`), labels, patient_id_sha256, report (null: one is written), and the
    source's own columns; kind: as in the manifest; left_behind: columns of the table that name a patient.
    """

    place: Place
    kind: str
    films: pa.Table
    columns: tuple[pa.Field, ...]
    left_behind: tuple[str, ...] = ()


def read_source(source: Any, reports: Any = None, *, out: Place | None = None) -> Archive:
    """The films of a folder (of all its subfolders but `out`), or of a CSV or Parquet table with a column `path`.

    reports: a CSV or Parquet table with a report for some of the films, by their id or path; a table's own column
    `report` does the same. Raises DatasetError where there is no film, where a table is not as it should be, or where
    two films have one id.
    """
    place = place_of(source)
    info = place.filesystem.get_file_info(place.path)
    if info.type == fs.FileType.NotFound:
        raise DatasetError(f"{source} is not there")
    if info.type == fs.FileType.Directory:
        archive = _folder(place, out)
    else:
        archive = _table(place, read_table(place))
    if archive.films.num_rows == 0:
        raise DatasetError(f"there is no film in {source}")
    if reports is not None:
        archive = _with_reports(archive, read_table(place_of(reports)))
    ids = archive.films["film_id"]
    if len(pc.unique(ids)) != len(ids):
        raise DatasetError(f"two films of {source} have the same id: `id` is to tell each film from the others")
    return archive


def read_table(place: Place) -> pa.Table:
    """A CSV or Parquet table, by its name's end. Raises DatasetError."""
    suffix = place.path.rpartition(".")[2].lower()
    try:
        with place.filesystem.open_input_file(place.path) as file:
            data = file.read()
        if suffix == "csv":
            return pcsv.read_csv(
                io.BytesIO(data),
                parse_options=pcsv.ParseOptions(newlines_in_values=True),
                convert_options=pcsv.ConvertOptions(
                    column_types={name: pa.string() for name in (*PATHS, *IDS, "patient_id", "report", "labels")},
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
        if suffix in ("parquet", "pq"):
            return pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{place.path} cannot be read as a table ({type(error).__name__})") from error
    raise DatasetError(f"{place.path} is no folder, and no table: a table is called .csv or .parquet")


def _folder(place: Place, out: Place | None) -> Archive:
    from medinterp.imaging.film import may_be_film

    inside = "" if out is None or out.filesystem != place.filesystem else out.path
    found, kinds = [], set()
    for info in place.filesystem.get_file_info(fs.FileSelector(place.path, recursive=True)):
        if info.type != fs.FileType.File or info.base_name == "DICOMDIR":
            continue
        if inside and (info.path + "/").startswith(inside + "/"):
            continue
        named = info.base_name.lower().endswith(SUFFIXES)
        if place.scheme == "file":  # elsewhere a look into every file takes too long
            with place.filesystem.open_input_file(info.path) as file:
                head = bytes(file.read(512))
            if not may_be_film(head) and not named:
                continue
            kinds.add("dicom" if not head.startswith((b"\x89PNG", b"\xff\xd8", b"II*", b"MM")) else "raster")
        elif not named and "." in info.base_name:
            continue
        found.append(info.path[len(place.path) :].lstrip("/"))
    found.sort()
    dicom = kinds == {"dicom"}
    films = pa.table({"film_id": pa.array(found, pa.string()), "path": pa.array(found, pa.string())})
    kind = "dicom" if dicom else "folder" if place.scheme == "file" else place.scheme
    return Archive(place, kind, _complete(films), HEADER_COLUMNS if dicom else ())


def _table(place: Place, table: pa.Table) -> Archive:
    names = {name.lower(): name for name in reversed(table.column_names)}
    path = next((names[name] for name in PATHS if name in names), None)
    if path is None:
        raise DatasetError(f"the table has no column `path`; it has: {', '.join(table.column_names)}")
    if table[path].null_count:
        raise DatasetError("a row of the table has no path")
    folder = Place(place.filesystem, place.path.rpartition("/")[0], place.scheme)
    key = next((names[name] for name in IDS if name in names), path)
    if table[key].null_count:
        raise DatasetError(f"a row of the table has no {key}")
    known = {path, key, *(names[name] for name in ("labels", "report", "patient_id") if name in names)}
    left = tuple(name for name in table.column_names if name not in known and NAMING.search(name))
    own = [name for name in table.column_names if name not in known and name not in left]
    films = {
        "film_id": table[key].cast(pa.string()),
        "path": table[path].cast(pa.string()),
        **{name: table[name] for name in own},
    }
    if "report" in names:
        films["report"] = table[names["report"]].cast(pa.string())
    if "labels" in names:
        labels = [labels_of(one) for one in table[names["labels"]].to_pylist()]
        films["labels"] = pa.array(labels, pa.list_(pa.string()))
    if "patient_id" in names:
        hashed = [None if one is None else patient_hash(str(one)) for one in table[names["patient_id"]].to_pylist()]
        films["patient_id_sha256"] = pa.array(hashed, pa.string())
    taken = pa.table(films)
    columns = tuple(taken.schema.field(name) for name in own)
    kind = "csv" if place.path.lower().endswith(".csv") else "parquet"
    return Archive(folder, kind, _complete(taken), columns, left)


def _complete(films: pa.Table) -> pa.Table:
    for name, kind in (("labels", pa.list_(pa.string())), ("patient_id_sha256", pa.string()), ("report", pa.string())):
        if name not in films.column_names:
            films = films.append_column(name, pa.nulls(films.num_rows, kind))
    return films


def _with_reports(archive: Archive, table: pa.Table) -> Archive:
    names = {name.lower(): name for name in reversed(table.column_names)}
    key = next((names[name] for name in (*IDS, *PATHS) if name in names), None)
    if key is None or "report" not in names:
        raise DatasetError("the table of reports has a column `report`, and `id` or `path` to say of which film")
    keys = [str(one) for one in table[key].to_pylist()]
    texts = dict(zip(keys, table[names["report"]].to_pylist(), strict=True))
    by = "film_id" if key.lower() in IDS or key not in archive.films.column_names else "path"
    films = archive.films
    found = [texts.get(one) for one in films[by].to_pylist()]
    if not any(found):
        raise DatasetError("none of the reports is of one of these films: their `id` or `path` is to be the films' own")
    place = films.column_names.index("report")
    return Archive(
        archive.place,
        archive.kind,
        films.set_column(place, "report", pa.array(found, pa.string())),
        archive.columns,
        archive.left_behind,
    )


def patient_hash(patient_id: str) -> str:
    """What stands for a patient in the tables: the hex digest of the id."""
    return hashlib.sha256(patient_id.encode()).hexdigest()


def labels_of(given: str | Sequence[str] | None) -> list[str] | None:
    """Canonical names of what a film is labelled with; text has them apart by | ; or a comma.

    A name that the lexicon has not is kept in lower case; "no finding", "normal" and the like are none.
    """
    from medinterp.report.findings import parse_findings

    if given is None:
        return None
    labels: list[str] = []
    for one in _APART.split(given) if isinstance(given, str) else given:
        label = one.strip().lower().replace("_", " ")
        if label in ("", "no finding", "no findings", "normal", "none"):
            continue
        read = parse_findings(label)
        labels.append(read[0].name if len(read) == 1 else label)
    return list(dict.fromkeys(labels))
