"""The workers of a distributed run, as TF_CONFIG describes them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping

from semicml_tf.errors import UserError

_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclasses.dataclass(frozen=True)
class Workers:
    """The workers of a run, and the number of this one.

    Attributes:
        count: number of workers.
        number: number of this worker, from 0. Worker 0 is the chief: it writes the run's folder, and the others read.
        addresses: ``host:port`` of each worker, by number. A single worker has no address.
    """

    count: int = 1
    number: int = 0
    addresses: tuple[str, ...] = ()

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run's folder."""
        return self.number == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Workers:
        """The workers of ``TF_CONFIG``, or a single worker if the variable is not set.

        A ``chief`` of the cluster has a number before the ``worker``s.

        Raises:
            UserError: ``TF_CONFIG`` cannot be read, or has tasks other than chief and workers.
        """
        text = environment.get("TF_CONFIG", "").strip()
        if not text:
            return cls()
        remedy = f"Set it like {_EXAMPLE}, or unset it to train in one process"
        try:
            body = json.loads(text)
            cluster, task = body.get("cluster") or {}, body.get("task") or {}
            jobs = {name: list(map(str, hosts)) for name, hosts in cluster.items() if not isinstance(hosts, str)}
            kind, index = task.get("type", ""), int(task.get("index", 0))
            if not isinstance(kind, str):
                raise TypeError(f"expected a name as the task's type, got {kind!r}")
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"TF_CONFIG cannot be read ({error})", remedy=remedy) from error
        if not cluster:
            return cls()
        if len(jobs) < len(cluster):
            raise UserError("TF_CONFIG's cluster must hold lists of hosts", remedy=remedy)
        strange = sorted(set(jobs) - {"chief", "worker"})
        if strange:
            raise UserError(f"expected workers in TF_CONFIG's cluster, got '{strange[0]}'", remedy=remedy)
        if kind not in jobs or not 0 <= index < len(jobs[kind]):
            raise UserError(f"TF_CONFIG's task {kind or '(none)'} {index} is not in its cluster", remedy=remedy)
        first = 0 if kind == "chief" else len(jobs.get("chief", ()))
        addresses = tuple(jobs.get("chief", []) + jobs.get("worker", []))
        strange = [address for address in addresses if not _is_address(address)]
        if strange:
            raise UserError(f"expected host:port in TF_CONFIG's cluster, got '{strange[0]}'", remedy=remedy)
        return cls(len(addresses), first + index, addresses if len(addresses) > 1 else ())


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and re.fullmatch(r"\d{1,5}", port) is not None and 0 < int(port) < 65536


ALONE = Workers()
