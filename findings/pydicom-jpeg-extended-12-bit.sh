#!/usr/bin/env bash
# pydicom 3.0.2 calls its JPEG Extended (1.2.840.10008.1.2.4.51) decoder available, and lists gdcm among its plugins, but
# no plugin decodes what the syntax exists for: 12 bits. Pillow's libjpeg has 8 bits only, and the gdcm plugin refuses 12
# before it asks gdcm (python-gdcm 3.2.6), which decodes the same frame when it is asked itself.
#
# Seen: "available True", then a RuntimeError that names both plugins, then 1024 x 256 values of 12 bits by gdcm.
# The film is one of pydicom's own test files, which it installs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 python-gdcm==3.2.6 pillow==12.3.0 numpy==2.4.6
cd "$folder" && venv/bin/python - <<'PYTHON'
import gdcm
import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGExtended12Bit

path = get_testdata_file("JPGExtended.dcm", download=False)
dataset = dcmread(path)
assert dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and dataset.BitsStored == 12
decoder = get_decoder(JPEGExtended12Bit)
print("available", decoder.is_available, decoder.available_plugins)
assert decoder.is_available and "gdcm" in decoder.available_plugins
try:
    decoder.as_array(dataset, index=0)
except RuntimeError as error:
    print("pydicom:", str(error).splitlines()[0])
else:
    raise SystemExit("pydicom decodes 12 bits now: this finding is out of date")

reader = gdcm.ImageReader()
reader.SetFileName(str(path))
assert reader.Read()
data = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
values = np.frombuffer(data, "<u2").reshape(dataset.Rows, dataset.Columns)
print("gdcm:", values.shape, "values up to", values.max())
assert values.max() > 255
PYTHON
echo "as described"
