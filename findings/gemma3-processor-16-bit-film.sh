#!/usr/bin/env bash
# The image processor of Gemma 3 (transformers 5.23.0, PIL backend) takes a 16-bit gray PIL image without a word, and
# what comes out is white wherever the film is above 255 of 65,535: it converts to RGB by Pillow, which clips 16-bit
# values at 255 in place of scaling them. A 16-bit film that was saved losslessly from DICOM so reaches MedGemma as a
# white square with a few black specks; the same film in 8 bits arrives as it is.
#
# Seen: 8 bits spread over -1 .. 1; 16 bits nearly all exactly 1.0. No weights are needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 pillow==12.3.0 numpy==2.4.6
cd "$folder" && HF_HUB_OFFLINE=1 venv/bin/python - <<'PYTHON'
import numpy as np
from PIL import Image
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

processor = Gemma3ImageProcessorPil()
ramp = np.tile(np.linspace(0, 65535, 512), (512, 1)).astype(np.uint16)
deep = Image.fromarray(ramp)
assert deep.mode == "I;16"
shares = {}
for name, image in (("8 bits", Image.fromarray((ramp // 257).astype(np.uint8))), ("16 bits", deep)):
    values = np.asarray(processor(images=[image], return_tensors="np")["pixel_values"][0])
    shares[name] = float((values == values.max()).mean())
    print(f"{name}: {values.min():.2f} to {values.max():.2f}, {shares[name]:.1%} at the top")
assert shares["8 bits"] < 0.05 and shares["16 bits"] > 0.95, "the processor scales 16 bits now"
PYTHON
echo "as described"
