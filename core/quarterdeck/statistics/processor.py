"""What has to be said to numpy before it is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FEATURES = "NPY_DISABLE_CPU_FEATURES"
ZEN_4 = "25"
"""Family of AMD's processors of which only those called Zen 4 have AVX-512."""


def choose_quicker_sort(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Where the processor is a Zen 4, keep numpy from sorting by AVX-512, which takes six times as long there as AVX2.

    Storing selected lanes (VPCOMPRESSQ to memory) is microcode on it. Only for a process that sorts large columns:
    other functions of numpy are slower without AVX-512. Does nothing once numpy was imported, or where the environment
    says something of its own.
    """
    if "numpy" in sys.modules or FEATURES in os.environ:
        return
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
    except OSError:
        return
    pairs = (line.partition(":") for line in text.splitlines())
    said = {name.strip(): value.strip() for name, _, value in pairs}
    flags = said.get("flags", "").split()
    if said.get("vendor_id") == "AuthenticAMD" and said.get("cpu family") == ZEN_4 and "avx512f" in flags:
        os.environ[FEATURES] = "X86_V4 AVX512_ICL"
