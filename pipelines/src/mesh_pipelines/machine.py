"""What a measurement was made on."""

import platform
import re
from pathlib import Path


def processor() -> str:
    """What this machine computes with."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
