"""What numpy raises of an npz file that is empty, cut off, or has a bit changed."""

from __future__ import annotations

import zipfile
import zlib

BROKEN = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
