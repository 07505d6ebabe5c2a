"""Pipelines of real TFX on this machine, and what their metadata say."""

import collections

from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from pipelines.data_part import data_components

COMPLETE, CACHED, FAILED = 3, 5, 4  # ml_metadata.proto.Execution.State


class DataPart:
    """The data part on one pipeline root and one metadata store."""

    def __init__(self, root, deliveries, flags, schema):
        self.root, self.deliveries, self.flags, self.schema = root, deliveries, flags, schema
        self.connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))

    def run(self, **options):
        """Runs it; returns the state of each component's execution."""
        before = {execution.id for execution in self._store(lambda store: store.get_executions())}
        made = data_components(str(self.deliveries), self.flags, **{"schema": self.schema, **options})
        try:
            LocalDagRunner().run(
                pipeline.Pipeline(
                    "data",
                    str(self.root / "artefacts"),
                    components=list(made.values()),
                    enable_cache=True,
                    metadata_connection_config=self.connection,
                )
            )
        finally:
            self.states = self._store(lambda store: _states(store, before))
        return self.states

    def newest(self, component, key, span=None):
        """The newest output of a component under that key; of that span, if one is named."""
        return self._store(lambda store: _newest(store, f"data.{component}", key, span))

    def _store(self, ask):
        with metadata.Metadata(self.connection) as handle:
            return ask(handle.store)


def _states(store, before):
    types = {kind.id: kind.name.rsplit(".", 1)[-1] for kind in store.get_execution_types()}
    return {
        types[execution.type_id]: execution.last_known_state
        for execution in store.get_executions()
        if execution.id not in before
    }


def _newest(store, node, key, span):
    context = store.get_context_by_type_and_name("node", node)
    executions = [execution.id for execution in store.get_executions_by_context(context.id)]
    events = store.get_events_by_execution_ids(executions)
    outputs = collections.defaultdict(list)
    for event in events:
        if event.type == event.OUTPUT:
            outputs[event.path.steps[0].key].append(event.artifact_id)
    made = store.get_artifacts_by_id(outputs[key])
    return max((one for one in made if span in (None, one.properties["span"].int_value)), key=lambda one: one.id)
