"""docs/bad_input.md: the tests that it names are there."""

import pathlib
import re

TESTS = pathlib.Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "bad_input.md"


def test_every_test_that_the_page_names_is_there():
    named, sources = 0, {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        file = None
        for new_file, name in re.findall(r"`([\w/]*test_\w+\.py)?(?:::(test_\w+))?`", line):
            file = new_file or file
            if not file:
                continue
            source = sources.setdefault(file, (TESTS / file).read_text(encoding="utf-8"))
            assert f"def {name or 'test_'}" in source, (file, name)
            named += 1
    assert named > 40
