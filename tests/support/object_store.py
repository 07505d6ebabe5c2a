"""A real S3 server on loopback (moto), and tiny datasets to lay there."""

import contextlib
import dataclasses
import logging
import pathlib
import urllib.request

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import PLAIN
from semicml_tf.records import case_record, tfrecord_file
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.records.shards import sha256, shard_name
from tests.support.evaluation_data import CONSTANTS, NORMALISATION

PEOPLE = {"labelled": 3, "unlabelled": 2, "validation": 2, "test": 2}


class Requests(logging.Handler):
    """What the server was asked, as lines like ``GET /bucket/key HTTP/1.1``."""

    def __init__(self):
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(record.getMessage())

    def count(self, method: str, name: str) -> int:
        return sum(f"{method} /" in line and name in line for line in self.lines)


class Server:
    """The server, its buckets, and what it was asked."""

    def __init__(self, address: str, requests: Requests):
        self.address, self.requests = address, requests

    def bucket(self, name: str) -> str:
        """Makes a bucket; returns its URL."""
        urllib.request.urlopen(urllib.request.Request(f"{self.address}/{name}", method="PUT"))
        return f"s3://{name}"

    @contextlib.contextmanager
    def checking_keys(self):
        """Within the block only keys that the server gave out itself are good, and it gave out none."""
        self._open_requests(0)
        try:
            yield
        finally:
            self._open_requests(10**9)

    def _open_requests(self, count: int) -> None:
        address, kind = f"{self.address}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(address, data=str(count).encode(), headers=kind, method="POST"))


@contextlib.contextmanager
def server():
    """Starts one, on a port that the system chooses."""
    from moto.server import ThreadedMotoServer

    requests, log = Requests(), logging.getLogger("werkzeug")
    log.addHandler(requests)
    log.setLevel(logging.INFO)
    log.propagate = False
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield Server(f"http://{host}:{port}", requests)
    finally:
        running.stop()
        log.removeHandler(requests)


def environment(address: str) -> dict[str, str]:
    """The variables that lead to the server: dummies all, so that nobody's own keys are ever used."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "dummykey",
        "AWS_SECRET_ACCESS_KEY": "dummysecret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }


def write_dataset(folder: pathlib.Path, *, seed: int = 0) -> DatasetInfo:
    """A dataset of random images, two cases a shard, with the files that conversion lays beside."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    entries, digests = {}, {}
    for partition, count in PEOPLE.items():
        shards = -(-count // 2)
        entries[partition] = []
        for number in range(shards):
            name = shard_name(partition, number, shards)
            with open(folder / name, "wb") as stream:
                for index in range(min(2, count - 2 * number)):
                    record = _record(f"{partition}-{2 * number + index}", rng, labelled=partition != "unlabelled")
                    tfrecord_file.write(stream, case_record.encode(record))
                    lesion = None if record.label is None else int(record.label.any(axis=(1, 2)).sum())
                    entries[partition].append(CaseEntry(record.case_id, name, index, record.grid.shape, lesion))
            digests[name] = sha256(folder / name)
    info = DatasetInfo(
        root=folder,
        modalities=tuple(NORMALISATION),
        reference_modality="ct",
        spacing_mm=(4.0, 3.0, 3.0),
        normalisation=NORMALISATION,
        labels=PLAIN,
        layout="hecktor",
        partitions={name: tuple(cases) for name, cases in entries.items()},
        shard_sha256=digests,
    ).with_hash()
    info.save(folder)
    (folder / "split.json").write_text("{}")
    (folder / "preview").mkdir()
    (folder / "preview" / "a b.png").write_bytes(b"png")
    return info


def _record(case_id, rng, *, labelled):
    grid = Grid((6, 40, 36), np.diag([-4.0, -3.0, -3.0, 1.0]))
    label = np.zeros(grid.shape, np.uint8)
    low = rng.integers(4, 20, 2)
    label[1:5, low[0] : low[0] + 12, low[1] : low[1] + 12] = 1
    images = {name: (label + rng.normal(0, 0.3, grid.shape)).astype(np.float16) for name in NORMALISATION}
    masks = {"label": label, "native_label": label} if labelled else {}
    return case_record.CaseRecord(case_id, grid, images, CONSTANTS, grid, **masks)


def falsify(info: DatasetInfo, change, *, length: int | None = None) -> DatasetInfo:
    """Changes the features of the first labelled record, or its length in the shard; all hashes match again."""
    import tensorflow as tf

    name = info.cases("labelled")[0].shard
    with open(info.root / name, "rb") as stream:
        contents = list(tfrecord_file.read_all(stream))
    example = tf.train.Example.FromString(contents[0])
    change(example.features.feature)
    contents[0] = example.SerializeToString()
    with open(info.root / name, "wb") as stream:
        for content in contents:
            tfrecord_file.write(stream, content)
        if length is not None:
            stream.seek(0)
            header = length.to_bytes(8, "little")
            stream.write(header + tfrecord_file._masked_crc(header).to_bytes(4, "little"))
    digests = info.shard_sha256 | {name: sha256(info.root / name)}
    info = dataclasses.replace(info, shard_sha256=digests).with_hash()
    info.save(info.root)
    return info
