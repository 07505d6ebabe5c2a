"""Puts a version of NiiVue from npm beside the report's scripts: python tests/browser/fetch_niivue.py VERSION

Takes the ready-made UMD bundle out of the package's tarball, whose sha512 the registry names and npm checks, and writes
where it came from into source.json. The licences beside it are to be looked at by a person.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

FOLDER = pathlib.Path(__file__).parents[2] / "semicml_tf" / "reporting" / "assets" / "niivue"
MEMBER = "package/dist/niivue.umd.js"


def main(version: str) -> None:
    """Fetches a version."""
    held = json.loads((FOLDER / "source.json").read_text())
    name = f"{held['package']}@{version}"
    told = subprocess.run(["npm", "view", name, "dist", "license", "--json"], check=True, capture_output=True).stdout
    registry = json.loads(told)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", name], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        (tarball,) = pathlib.Path(folder).glob("*.tgz")
        with tarfile.open(tarball) as archive:
            source = archive.extractfile(MEMBER).read()
    (FOLDER / "niivue.umd.js").write_bytes(source)
    held |= {
        "version": version,
        "licence": registry["license"],
        "tarball": registry["dist"]["tarball"],
        "tarball_integrity": registry["dist"]["integrity"],
        "file": MEMBER,
        "sha256": hashlib.sha256(source).hexdigest(),
    }
    (FOLDER / "source.json").write_text(json.dumps(held, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected a version, e.g. make niivue NIIVUE=0.69.0")
    main(sys.argv[1])
