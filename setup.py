"""The package's metadata. What each extra is for, and where it was tried, stands in BUILD.md."""

import pathlib
import re

from setuptools import find_packages, setup

# Read, not imported: a build environment has none of the dependencies.
_INIT = pathlib.Path(__file__).parent / "semicml_tf" / "__init__.py"
VERSION = re.search(r'^__version__ = "([^"]+)"$', _INIT.read_text(encoding="utf-8"), re.MULTILINE).group(1)

TENSORFLOW = ">=2.17,<2.22"

setup(
    name="semicml-tf",
    version=VERSION,
    description="Two segmentation networks, one per modality, trained together with few labels (Semi-CML with PReL)",
    license="Apache-2.0",
    # `serving` and `pipelines` would be installed under these very names, which anybody may have: they stay in the
    # checkout (see BUILD.md).
    packages=find_packages(include=["semicml_tf", "semicml_tf.*"]),
    entry_points={"console_scripts": ["semicml = semicml_tf.__main__:main"]},
    package_data={"semicml_tf.reporting": ["assets/*", "assets/niivue/*"]},
    python_requires=">=3.10,<3.13",
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        f"tensorflow-serving-api{TENSORFLOW}",
        # tf.summary lives in it, and TensorFlow 2.21 no longer brings it along.
        f"tensorboard{TENSORFLOW}",
        "keras>=3.12,<4",
        "protobuf<7",  # Beam, Kubeflow Pipelines and TFX do not take 7 yet
        "grpcio>=1.62,<2",
        "grpcio-health-checking>=1.62,<2",
        "numpy>=1.26,<3",
        "scipy>=1.11",
        "nibabel>=5.0",
        "google-crc32c>=1.5",
        "isal>=1.6",  # gunzips three times as fast as zlib
        "surface-distance>=0.1",
        "matplotlib>=3.8",
        "pillow>=9.4",
        "absl-py>=1.4",
        "annotated-types>=0.6",
        "typing_extensions>=4.6.1",
        "pydantic>=2.8,<3",  # types of JSON files; 2.8 is the first that stops at a list's first wrong element
        "tqdm>=4.64",
    ],
    extras_require={
        "cuda": [f"tensorflow[and-cuda]{TENSORFLOW}"],
        "dicom": ["pydicom>=3.0", "highdicom>=0.25", "SimpleITK>=2.3", "contourpy>=1.0"],
        "s3": ["fsspec>=2024.2", "s3fs>=2024.2"],
        # Conversion on several machines; on one it needs neither.
        "beam": ["apache-beam>=2.61,<3"],
        "dask": ["apache-beam>=2.61,<3", "dask>=2024.2", "distributed>=2024.2"],
        "ray": ["ray[serve]>=2.60,<3"],
        # The last tensorflow-io (2024-07) loads its native code with TensorFlow 2.16 and 2.17 only; TensorBoard
        # of that age needs the pkg_resources that setuptools 81 gave up.
        "io": [
            "tensorflow==2.17.1",
            "tensorflow-serving-api==2.17.1",
            "tensorboard==2.17.1",
            "tensorflow-io==0.37.1",
            "tensorflow-io-gcs-filesystem==0.37.1",
            "fsspec>=2024.2",  # dataset.json is read, and shards are asked for, through these
            "s3fs>=2024.2",
            "setuptools<81",
        ],
        # Its own requirements cannot be met on Debian 12, whose glibc is too old for the newest ml-metadata and
        # tensorflow-data-validation: install requirements/tfx.lock there instead.
        "tfx": ["tfx==1.21.0"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
            "hypothesis>=6.100",  # requests that nobody thought of
            "packaging>=23",
            "setuptools>=68",
            "wheel>=0.41",
            "moto[s3]>=5",  # a local S3 server for the tests, with the two that it needs as a server
            "flask>=3",
            "flask-cors>=4",
            "kubernetes-validate>=1.30",  # the schemas that manifests are checked by
            "pyyaml>=6",
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
