"""The set of the environment with Ray Serve (`make test-ray`); elsewhere it is not collected."""

import importlib.util
import os
import secrets

if importlib.util.find_spec("ray"):
    # Ray reads these when it is imported. The processes of one test share a secret, and none is written into the home
    # folder.
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "90",
    }
else:
    collect_ignore_glob = ["test_*.py"]
