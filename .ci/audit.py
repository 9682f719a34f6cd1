"""Asks pip-audit about every package of the locks, and counts what it really audited.

pip-audit says "No known vulnerabilities found" also when it has looked at nothing, which is what happens where the
service that knows them cannot be reached. So a version with a known vulnerability is asked first: only who finds that
one is believed. Ends with 1 when a vulnerability is found or a package was left out, and with 0, saying that nothing
was audited, when the service does not answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKS = [ROOT / ".ci" / f"{name}.lock" for name in ("build", "dev", "torch")]  # dev holds what runtime holds
KNOWN = "jinja2==2.4.1"  # CVE-2014-0012 and others, published for good


def main() -> int:
    """Audit, print what came of it, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(KNOWN + "\n", encoding="utf-8")
        if not any(package.get("vulns") for package in audited([known], ["--no-deps"])):
            print(f"NOT AUDITED: {KNOWN} is not told to be vulnerable, so the service cannot be reached from here.")
            return 0
    packages = {package["name"]: package for package in audited(LOCKS, ["--require-hashes"])}
    skipped = {name: package["skip_reason"] for name, package in packages.items() if "skip_reason" in package}
    found = {name: package for name, package in packages.items() if package.get("vulns")}
    for name, reason in sorted(skipped.items()):
        print(f"skipped {name}: {reason}")
    for name, package in sorted(found.items()):
        for flaw in package["vulns"]:
            mended = ", ".join(flaw["fix_versions"]) or "no version yet"
            print(f"{name} {package['version']}: {flaw['id']}, mended by {mended}")
    print(f"{len(packages) - len(skipped)} audited, {len(skipped)} skipped, {len(found)} vulnerable")
    return 1 if found or skipped or not packages else 0


def audited(files: list[Path], options: list[str]) -> list[dict[str, Any]]:
    """What pip-audit's JSON says of each package; nothing where it ends without any."""
    command = [os.environ.get("PIP_AUDIT", str(Path(sys.executable).with_name("pip-audit")))]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json", *options]
    for file in files:
        command += ["--requirement", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        print(answer.stderr.strip()[-2000:], file=sys.stderr)
        return []
    return packages


if __name__ == "__main__":
    sys.exit(main())
