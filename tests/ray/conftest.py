"""The set of the environment with Ray Serve (`make test-ray`); elsewhere it is not collected."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("ray") else ["test_*.py"]
