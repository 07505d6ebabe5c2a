"""A second network in the catalogue, so that nothing can know the first one by name."""

import pytest

from semicml_tf.networks import catalogue
from tests.support import gated_network


@pytest.fixture(autouse=True)
def _second_network(monkeypatch):
    monkeypatch.setitem(catalogue.NETWORKS, gated_network.NAME, gated_network.ENTRY)
