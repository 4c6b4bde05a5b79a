#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fonts that drawing.py draws with. As a program, names the Debian packages that they are in."""

import re
import subprocess
from pathlib import Path

# Debian's packages, and which of their files; only upright ones are taken.
TRAINED = {
    "fonts-cmu": r"cmun(rm|bx|ss|sx|ssdc|tt|tb|vt|orm|obx|bmr|bsr)\.",
    "fonts-dejavu-core": "DejaVu",
    "fonts-dejavu-extra": r"DejaVu(Sans|Serif)Condensed",
    "fonts-ebgaramond": "EBGaramond12",
    "fonts-firacode": "FiraCode",
    "fonts-freefont-ttf": "Free",
    "fonts-inter": "Inter-",
    "fonts-liberation": "Liberation",
    "fonts-linuxlibertine": r"Lin(Libertine|Biolinum)_R",
    "fonts-noto-core": r"Noto(Sans|Serif)(Display)?-",
    "fonts-noto-mono": "Noto",
    "fonts-play": "Play",
    "fonts-roboto-unhinted": r"Roboto(Condensed)?-",
    "fonts-tuffy": "Tuffy",
}
HELD_OUT = {
    "fonts-jetbrains-mono": "JetBrainsMono-",
    "fonts-open-sans": "OpenSans",
    "fonts-sil-gentiumplus": "GentiumPlus",
}
NOT_UPRIGHT = re.compile(r"Italic|Oblique|Slanted|Thin|Hairline|_R\w*I")


def files_of(package, pattern):
    """The paths of a package's upright fonts whose names begin as the pattern says."""
    listing = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True, check=True).stdout
    paths = [Path(line) for line in listing.splitlines() if line.endswith((".ttf", ".otf"))]
    found = {path.stem: path for path in sorted(paths)
             if re.match(pattern, path.name) and not NOT_UPRIGHT.search(path.name)}
    if not found:
        raise SystemExit(f"{package} has no font that fits {pattern}")
    return list(found.values())


if __name__ == "__main__":
    print(*TRAINED, *HELD_OUT)
