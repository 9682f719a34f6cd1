#!/usr/bin/env bash
# A gray TIFF may say that zero is white (PhotometricInterpretation 0), as film scanners do. Pillow 12.3 turns such a
# picture over when it has 8 bits, and leaves it as it is when it has 16: the same film comes out positive from one file
# and negative from the other, and only the mode tells them apart. OpenCV 5.0.0 does the same.
#
# Seen: "black stays black True" for 8 bits and "False" for 16, of both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.3.0 numpy==2.4.6 tifffile==2026.3.3 opencv-python-headless==5.0.0.93
cd "$folder" && venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import tifffile
from PIL import Image

shown = np.zeros((64, 64), np.uint8)  # what is to be seen: black, with a white square
shown[16:48, 16:48] = 255
found = {}
for bits, stored in ((8, 255 - shown), (16, (255 - shown).astype(np.uint16) * 257)):
    path = f"film-{bits}.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite")
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == 0
    with Image.open(path) as image:
        pixels = np.asarray(image)
    found["Pillow", bits] = bool(pixels[0, 0] == 0)
    found["OpenCV", bits] = bool(cv2.imread(path, cv2.IMREAD_UNCHANGED)[0, 0] == 0)
for (library, bits), right in found.items():
    print(f"{library}, {bits} bits: black stays black {right}")
for library in ("Pillow", "OpenCV"):
    assert found[library, 8] and not found[library, 16], f"{library} treats both depths alike now"
PYTHON
echo "as described"
