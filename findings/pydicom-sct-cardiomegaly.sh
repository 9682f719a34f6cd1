#!/usr/bin/env bash
# pydicom 3.0.2 offers SNOMED CT codes by name, from the tables of DICOM PS3.16 2024c. codes.SCT.Cardiomegaly (context
# groups 12248 and 12249) and codes.SCT.EnlargedSeptalForamenOfHeart are one and the same code, 287272002: a structured
# report that says "cardiomegaly" by that name says a hole in the septum to whoever looks the code up. Two Code objects
# of the two names are equal, so no comparison tells them apart either.
#
# Seen: "287272002 Cardiomegaly", "287272002 Enlarged septal foramen of heart (disorder)", equal True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2
cd "$folder" && venv/bin/python - <<'PYTHON'
from pydicom.sr.codedict import codes

enlarged, foramen = codes.SCT.Cardiomegaly, codes.SCT.EnlargedSeptalForamenOfHeart
for code in (enlarged, foramen):
    print(code.value, code.meaning)
print("equal", enlarged == foramen)
assert enlarged.value == foramen.value == "287272002" and enlarged == foramen
assert "Cardiomegaly" in enlarged.meaning and "foramen" in foramen.meaning
PYTHON
echo "as described"
