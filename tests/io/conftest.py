"""The small set of the environment with tensorflow-io (`make test-io`); elsewhere it is not collected."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("tensorflow_io") else ["test_*.py"]
