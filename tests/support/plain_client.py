"""The client of docs/serving.md that uses nothing of this package."""

import pathlib
import re

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "serving.md"


def plain_client() -> dict:
    """Its functions by name."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "def segment(" in block]
    assert "semicml_tf" not in code and "serving." not in code.replace("tensorflow_serving.", "")
    functions: dict = {"__name__": "plain_client"}
    exec(compile(code, str(DOCS), "exec"), functions)
    return functions
