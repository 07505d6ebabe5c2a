"""The recipes of CONTRIBUTING.md, executed in a copy of the package: the contract tests must accept what they add."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[2]
RECIPES = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Recipes")[2].split("### ")[1:]
STEPS = re.compile(
    r"1\. Write `(?P<file>[\w/.]+)`:\n\n```python\n(?P<code>.*?)```\n\n"
    r"2\. In `(?P<catalogue>[\w/.]+)`, add `(?P<line>[^`]+)` to `(?P<list>\w+)`\.\n"
    r"3\. Run `(?P<tests>[\w/.]+)`",
    re.DOTALL,
)


def test_what_each_recipe_adds_passes_its_contract(tmp_path):
    shutil.copytree(REPOSITORY / "semicml_tf", tmp_path / "semicml_tf", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    added, tests = [], []
    for recipe in RECIPES:
        step = STEPS.search(recipe)
        assert step, recipe[:60]
        (tmp_path / step["file"]).write_text(step["code"], encoding="utf-8")
        catalogue = tmp_path / step["catalogue"]
        text = catalogue.read_text(encoding="utf-8")
        before, opening, after = re.split(rf"(^{step['list']}\b.*[({{]$)", text, maxsplit=1, flags=re.MULTILINE)
        catalogue.write_text(f"{before}{opening}\n    {step['line']}{after}", encoding="utf-8")
        added.append(pathlib.Path(step["file"]).stem)
        tests.append(step["tests"])
    assert len(added) == 4
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", " or ".join(added), *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert all(name in done.stdout for name in added)
