"""What the file system and the locale of this process allow in names of files."""

import sys

import pytest

# Under a locale such as de_DE.iso88591, Python cannot write a name with letters outside the locale's encoding.
any_letters = pytest.mark.skipif(
    sys.getfilesystemencoding().lower() != "utf-8", reason="this locale does not encode names of files as UTF-8"
)
