"""What an audit takes up: folders, tables, DICOM trees, and reports beside them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from medinterp.audit.looking import look_at, packed, unpacked
from medinterp.audit.places import Place
from medinterp.audit.source import HEADER_COLUMNS, labels_of, read_source
from medinterp.errors import DatasetError

PNG = b"\x89PNG\r\n\x1a\n"


def written(path: Path, content: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_folder_gives_its_films_broken_ones_among_them_and_not_its_own_output(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "out/state/films.png"):
        written(tmp_path / name)
    written(tmp_path / "broken.jpg", b"no picture")
    written(tmp_path / "notes.txt", b"no film")
    archive = read_source(tmp_path, out=Place(fs.LocalFileSystem(), str(tmp_path / "out")))
    assert archive.kind == "folder" and archive.columns == ()
    assert archive.films["path"].to_pylist() == ["a/1.png", "b/2.png", "broken.jpg"]
    assert archive.films["film_id"] == archive.films["path"]


def test_a_table_keeps_its_columns_but_those_that_name_a_patient(tmp_path: Path) -> None:
    table = written(
        tmp_path / "films.csv",
        b"id,path,patient_id,patient_name,site,age,labels,report\n"
        b'007,1.png,P1,A^B,north,61,Pleural Effusion|No finding,"Effusion,\nleft."\n'
        b"008,2.png,,C^D,south,,,\n",
    )
    archive = read_source(table)
    first, second = archive.films.to_pylist()
    assert first == {
        "film_id": "007",
        "path": "1.png",
        "site": "north",
        "age": 61,
        "report": "Effusion,\nleft.",
        "labels": ["pleural effusion"],
        "patient_id_sha256": hashlib.sha256(b"P1").hexdigest(),
    }
    assert second["labels"] is None and second["report"] is None and second["age"] is None
    assert [field.name for field in archive.columns] == ["site", "age"] and archive.left_behind == ("patient_name",)
    assert archive.kind == "csv" and archive.place.path == str(tmp_path)


def test_reports_come_from_a_table_of_their_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["1.png", "2.png"], "id": ["a", "b"]}), tmp_path / "films.parquet")
    written(tmp_path / "reports.csv", b"id,report\nb,Clear lungs.\n")
    assert read_source(tmp_path / "films.parquet", tmp_path / "reports.csv").films["report"].to_pylist() == [
        None,
        "Clear lungs.",
    ]
    written(tmp_path / "others.csv", b"id,report\nz,Clear lungs.\n")
    with pytest.raises(DatasetError, match="none of the reports"):
        read_source(tmp_path / "films.parquet", tmp_path / "others.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name,site\na,b\n", "no column `path`; it has: name, site"),
        (b"path,id\n1.png,x\n2.png,x\n", "the same id"),
        (b"path,id\n1.png,\n", "has no id"),
        (b"path\n", "there is no film"),
    ],
)
def test_a_table_that_is_not_as_it_should_be_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_source(written(tmp_path / "films.csv", content))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not there"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no folder, and no table"):
        read_source(written(tmp_path / "film.txt"))
    with pytest.raises(DatasetError, match="cannot be used here"):
        read_source("nowhere://bucket/films")


def test_labels_become_canonical() -> None:
    given = "Pleural Effusion;Enlarged heart, unheard_of"
    assert labels_of(given) == ["pleural effusion", "cardiomegaly", "unheard of"]
    assert labels_of(["No Finding"]) == [] and labels_of(None) is None


def test_files_are_read_by_whatever_file_system_holds_them(tmp_path: Path) -> None:
    """As of an object store: a file system that knows other paths than this machine's."""
    from tests.page_fixtures import film_png

    written(tmp_path / "bucket" / "archive" / "1.png", film_png())
    store = Place(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket/archive", "s3")
    archive = read_source(store)
    assert archive.kind == "s3" and archive.films["path"].to_pylist() == ["1.png"]
    (looked,) = unpacked(packed([look_at(store, archive.films.to_pylist()[0])]))
    assert looked.film is not None and looked.film.pixels.shape == (looked.row["height"], looked.row["width"])
    assert looked.row["thumbnail"].startswith(b"\xff\xd8")
    gone = look_at(store, {**archive.films.to_pylist()[0], "path": "Doe^John.png"})
    assert gone.film is None and "Doe" not in gone.reason and gone.error == "UnreadableFilmError"


def test_a_dicom_tree_says_view_sex_and_age_and_no_name(tmp_path: Path) -> None:
    from pydicom import dcmread

    from tests.api_films import dicom

    dataset = dcmread(io.BytesIO(dicom(200, 200)))
    dataset.PatientName, dataset.PatientID, dataset.PatientAge, dataset.PatientSex = "Doe^John", "P7", "061Y", "M"
    dataset.ViewPosition = "PA"
    dataset.save_as(tmp_path / "film")
    archive = read_source(tmp_path)
    assert archive.kind == "dicom" and archive.columns == HEADER_COLUMNS
    looked = look_at(archive.place, archive.films.to_pylist()[0], headers=True)
    said = {name: looked.row[name] for name in ("view", "sex", "age", "patient_id_sha256")}
    assert said == {"view": "PA", "sex": "M", "age": 61, "patient_id_sha256": hashlib.sha256(b"P7").hexdigest()}
    assert looked.film is not None and looked.film.source is None
    assert b"Doe" not in bytes(packed([looked])["looked"][0].as_buffer())
