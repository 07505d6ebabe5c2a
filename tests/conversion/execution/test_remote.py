"""A conversion whose output is on an S3 server: the same bytes as on this machine, and the same refusals."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.storage.store import store_for
from tests.support import conversions, object_store


def test_what_arrives_is_what_a_conversion_to_a_folder_makes(tmp_path, monkeypatch):
    source = conversions.hecktor(tmp_path / "volumes")
    local = conversions.convert(source, tmp_path / "local")
    with object_store.server() as server:
        for name, value in object_store.environment(server.address).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SEMICML_TF_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        url = server.bucket("clinic") + "/data"
        conversions.convert(source, url)
        store = store_for(url)
        files = {str(path.relative_to(local)): path for path in local.rglob("*") if path.is_file()}
        assert set(store.sizes(url)) == set(files)
        for name, path in files.items():
            assert store.read(f"{url}/{name}") == path.read_bytes()
        with pytest.raises(UserError, match="another dataset is there.*--overwrite"):
            conversions.convert(source, url)
        conversions.convert(source, url, "--overwrite")
        with pytest.raises(UserError, match="there is no bucket 'nobodys'"):
            conversions.convert(source, "s3://nobodys/data")
    assert not list((tmp_path / "cache").rglob("*.tfrecord"))
    assert not (tmp_path / "s3:").exists()
