"""The pictures of the README: the demo's mail as Chromium shows it, wide in the light and narrow in the dark.

Chromium has to be there (Debian's package `chromium` will do): `make pictures`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]
MAIL = TOP / "build" / "demo" / "failed.html"
DARK = "--blink-settings=preferredColorScheme=0"
PICTURES = {"mail.png": ("680,900",), "mail-dark.png": ("400,1100", DARK)}
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def main() -> None:
    """Run the demo, and take a picture of each kind of its mail."""
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("Chromium is needed to take the pictures.")
    subprocess.run([sys.executable, str(TOP / "tests" / "demo.py")], check=True, stdout=subprocess.DEVNULL)
    for name, (size, *more) in PICTURES.items():
        with tempfile.TemporaryDirectory() as profile:
            where = (f"--user-data-dir={profile}", f"--window-size={size}", f"--screenshot={TOP / 'docs' / name}")
            subprocess.run([chromium, *QUIET, *where, *more, MAIL.as_uri()], check=True, capture_output=True)
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
