"""The table of a pipeline's run."""

import json

from pipelines import metadata_store
from pipelines.metadata_store import Row


def test_table_has_a_row_for_each_component():
    rows = metadata_store.complete_rows(
        [Row("a", "from cache", 0.1), Row("bb", "failed", 12.34, "why")], ["a", "bb", "c"]
    )
    assert metadata_store.table_text(rows).splitlines() == [
        "component               seconds",
        "a          from cache       0.1",
        "bb         failed          12.3  why",
        "c          not reached      0.0",
    ]
    body = json.loads(json.dumps(metadata_store.run_json("run", rows)))
    assert [one["status"] for one in body["components"]] == ["from cache", "failed", "not reached"]
