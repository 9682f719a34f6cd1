#!/usr/bin/env bash
# pyjpegls 1.5.1: encode_array of a uint16 picture whose brightest value is below 256 (a 16-bit film that uses 8 bits, or
# a dark tile of one) writes another picture without a word. The depth is taken from the values and not from the type, so
# that two-byte pixels are coded as one-byte ones: what is decoded is uint8, each row holds the low and the high byte of
# half the row's pixels in turn, and the other half of the picture is gone. One brighter pixel, and all is well.
# encode_buffer, which is told the bits, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyjpegls==1.5.1 numpy==2.4.6
cd "$folder" && venv/bin/python - <<'PYTHON'
import jpeg_ls
import numpy as np


def back(coded):
    return jpeg_ls.decode(np.frombuffer(bytes(coded), np.uint8))


dark = (np.arange(64, dtype=np.uint16) * 3).reshape(8, 8)
wrong = back(jpeg_ls.encode_array(dark))
print("decoded as", wrong.dtype, "; first row", wrong[0].tolist(), "of", dark[0].tolist())
assert wrong.dtype == np.uint8 and not np.array_equal(wrong, dark), "the depth is that of the array now"
assert wrong.tobytes() == dark.tobytes()[:64], "half of the bytes, as they lie in memory"

bright = dark.copy()
bright[-1, -1] = 256
assert np.array_equal(back(jpeg_ls.encode_array(bright)), bright)

told = jpeg_ls.encode_buffer(dark.tobytes(), 8, 8, 1, 16)
right = np.asarray(back(told))
assert np.array_equal(right, dark), "told the bits it is right"
PYTHON
echo "as described"
