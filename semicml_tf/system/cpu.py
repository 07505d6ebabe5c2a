"""The processor: model, features, cores, and whether TensorFlow uses oneDNN's kernels."""

from __future__ import annotations

import os
import pathlib
import platform
import sys
from typing import Any

# Processor features that oneDNN's speed depends on, by their names in /proc/cpuinfo.
_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_tile": "AMX",
    "asimd": "NEON",
    "sve": "SVE",
}


def available() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> dict[str, Any]:
    """Properties of the machine that affect speed and rounding, to be stored with results.

    Returns:
        JSON values: ``model`` and ``features`` of the processor, ``cores`` that this process may use, and ``onednn``:
        whether TensorFlow uses oneDNN's kernels, None if TensorFlow is not imported. ``onednn_max_isa`` if it is set.
    """
    known = _cpuinfo()
    flags = (known.get("flags") or known.get("Features") or "").split()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return {
        "model": known.get("model name") or platform.processor() or platform.machine(),
        "features": [name for flag, name in _FEATURES.items() if flag in flags],
        "cores": available(),
        "onednn": _onednn(),
        **({"onednn_max_isa": limit} if limit else {}),
    }


def described() -> str:
    """`processor` in one line."""
    known = processor()
    limit = [f"oneDNN limited to {known['onednn_max_isa']}"] if "onednn_max_isa" in known else []
    features = ", ".join([*known["features"], *limit])
    # Without TensorFlow in this process, only the environment variable is known.
    asked = f"by TF_ENABLE_ONEDNN_OPTS={os.environ.get('TF_ENABLE_ONEDNN_OPTS', '')}"
    onednn = {True: "on", False: "off", None: asked}[known["onednn"]]
    return f"{known['model']} ({features or 'features unknown'}), {known['cores']} cores, oneDNN {onednn}"


def _cpuinfo() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; {} if there is no such file."""
    try:
        first = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def _onednn() -> bool | None:
    """Whether TensorFlow uses oneDNN, which it decided when it was imported; None if it is not imported."""
    if "tensorflow" not in sys.modules:
        return None
    try:
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):  # not part of TensorFlow's public interface
        return None
