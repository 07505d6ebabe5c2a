"""The Kubernetes job and the Slurm script: valid by schema, and what they start is a worker that knows its place."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from semicml_tf.training.distributed.cluster import Workers

CLUSTER = pathlib.Path(__file__).parents[2] / "configs" / "cluster"
# In the place of python: writes its arguments and TF_CONFIG, a file for each process.
RECORDER = """#!{python}
import json, os, pathlib, sys
number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
pathlib.Path({folder!r}, f"{{number}}.json").write_text(json.dumps([sys.argv[1:], os.environ["TF_CONFIG"]]))
"""


def _tools(folder, **scripts):
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def _started(folder):
    found = [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]
    return [arguments for arguments, _ in found], [config for _, config in found]


def _documents():
    return list(yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text()))


def test_the_kubernetes_documents_are_valid():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    service, job = _documents()
    for document in (service, job):
        kubernetes_validate.validate(document, "1.30", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job | {"spec": job["spec"] | {"completionMode": 3}}, "1.30", strict=True)


def test_the_documents_fit_each_other():
    service, job = _documents()
    pods = job["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    workers = int(container["env"][0]["value"])
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == workers
    assert pods["subdomain"] == service["metadata"]["name"] and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}


def test_each_pod_knows_its_place(tmp_path):
    service, job = _documents()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    environment = _tools(tmp_path, python=RECORDER.format(python=sys.executable, folder=str(tmp_path)))
    for index in range(2):
        where = environment | {"WORKERS": "2", "JOB_COMPLETION_INDEX": str(index)}
        subprocess.run(container["command"], env=where, check=True)
    arguments, configs = _started(tmp_path)
    workers = [Workers.from_environment({"TF_CONFIG": text}) for text in configs]
    assert [(one.count, one.number) for one in workers] == [(2, 0), (2, 1)]
    name, port = job["metadata"]["name"], service["spec"]["ports"][0]["port"]
    hosts = json.loads(configs[0])["cluster"]["worker"]
    assert hosts == [f"{name}-{index}.{service['metadata']['name']}:{port}" for index in range(2)]
    assert arguments[0] == arguments[1] and arguments[0][:2] == ["-m", "semicml_tf.train"]
    assert "--resume" in arguments[0]


def test_each_slurm_task_knows_its_place(tmp_path):
    """Dry run: `scontrol` and `srun` as Slurm's behave, on a job of two nodes."""
    environment = _tools(
        tmp_path,
        python=RECORDER.format(python=sys.executable, folder=str(tmp_path)),
        scontrol='#!/bin/sh\n[ "$1 $2 $3" = "show hostnames node[3,7]" ] && printf "node3\\nnode7\\n"\n',
        srun='#!/bin/sh\n[ "$1 $SRUN_CPUS_PER_TASK" = "--kill-on-bad-exit=1 8" ] || exit 9\nshift\n'
        'for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done\n',
    )
    environment |= {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node[3,7]"}
    script = CLUSTER / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    subprocess.run([script, "--flagfile=a b.flags", "--output=RUN"], env=environment, check=True)
    arguments, configs = _started(tmp_path)
    workers = [Workers.from_environment({"TF_CONFIG": text}) for text in configs]
    assert [(one.count, one.number) for one in workers] == [(2, 0), (2, 1)]
    hosts = json.loads(configs[1])["cluster"]["worker"]
    assert [host.split(":")[0] for host in hosts] == ["node3", "node7"]
    assert len({host.split(":")[1] for host in hosts}) == 1 and 20000 <= int(hosts[0].split(":")[1]) < 40000
    assert arguments[0] == ["-m", "semicml_tf.train", "--flagfile=a b.flags", "--output=RUN", "--resume"]
