"""Shows what a converted dataset or one of its shards holds, and checks that it is as it was written.

    python -m semicml_tf.inspect data/sts                                  a dataset's folder
    python -m semicml_tf.inspect data/sts/test-00000-of-00001.tfrecord     one shard
    python -m semicml_tf.inspect s3://bucket/sts                           a dataset at a URL, through the local cache
    python -m semicml_tf.inspect data/sts --case=STS_001 --output=look     one case back to NIfTI
    python -m semicml_tf.inspect data/sts --export_nnunet=nnUNet_raw       a raw dataset of nnU-Net v2

Each record is read. Its checksums, the SHA-256 of the shard and the hash in dataset.json are compared, and so is the
content of the record with dataset.json. The command lists whatever is wrong with file, record and byte, and fails.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.records.config import InspectConfig

CONFIG = InspectConfig
POSITIONAL = ("path",)


def main(config: InspectConfig) -> None:
    """Prints what a dataset holds; fails if anything is wrong with it."""
    from semicml_tf.records.job import inspect

    commandline.show(inspect(config))


if __name__ == "__main__":
    commandline.run("semicml_tf.inspect")
