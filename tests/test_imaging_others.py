"""Files that pydicom ships, none of them a chest film: read or refused, with the true reason, and never passed."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import pytest

from medinterp.errors import FilmError
from medinterp.imaging import read_film

FOLDER = Path(pydicom.data.__file__).parent / "test_files"
FILES = sorted(FOLDER.glob("*.dcm"))

REFUSED = {
    "GDCMJ2K_TextGBR.dcm": None,  # under Pillow alone it fails
    "JPGExtended.dcm": None,  # 12 bits, by gdcm
    "JPEG-lossy.dcm": None,
    "MR_small_jpeg_ls_lossless.dcm": None,
    "SC_rgb_gdcm_KY.dcm": None,
    "examples_overlay.dcm": None,
    "image_dfl.dcm": None,
    "rtplan.dcm": "holds no picture",
    "rtdose.dcm": "15 frames",
    "rtdose_1frame.dcm": "32 bits",
    "liver_1frame.dcm": "1 bits",
    "examples_palette.dcm": "PALETTE COLOR",
    "MR_truncated.dcm": "fewer pixels than its header says",
    "SC_rgb_rle_16bit.dcm": "RGB of 16 bits",
    "SC_rgb_small_odd.dcm": "3 x 3 pixels",
    "badVR.dcm": r"NumberOfFrames \(0028,0008\)",
    "test-SR.dcm": "holds no picture",
    "no_meta.dcm": "not an image",
}
"""What some of them are for: None where they are read, else a part of the reason."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_pydicom(path: Path) -> None:
    """None of them is a chest film: what is read of them is withheld, by its header or by its look."""
    data = path.read_bytes()
    reason = REFUSED.get(path.name, "")
    if reason:
        with pytest.raises(FilmError, match=reason):
            read_film(data)
        return
    try:
        film = read_film(data)
    except FilmError as error:
        told = str(error)
        assert reason == "" and told.endswith(".") and "0x" not in told
        return
    assert any(warning.withholds for warning in film.warnings), film.warnings


def test_they_are_all_there() -> None:
    assert len(FILES) > 60
    assert REFUSED.keys() <= {path.name for path in FILES}
