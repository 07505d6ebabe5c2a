"""npz files: what `numpy.savez` writes is read bit for bit, and a hostile file is refused before memory is taken."""

import io
import zipfile

import numpy as np
import pytest

from semicml_tf.system import npz_files


def archive(header, content=b""):
    """An npz file of one array with a header of its own."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "<f4", "fortran_order": False, "shape": (1,), **header})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.npy", text.getvalue() + content)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_bit_for_bit(tmp_path, save):
    arrays = {"a": np.arange(6.0, dtype=">f4").reshape(2, 3), "b/c": np.array("text"), "d": np.zeros((0, 2), np.uint8)}
    save(tmp_path / "x.npz", **arrays)
    with npz_files.Arrays(tmp_path / "x.npz") as stored:
        assert list(stored) == list(arrays) and "b/c" in stored and "e" not in stored
        for name, array in arrays.items():
            assert stored[name].dtype == array.dtype and stored[name].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "stream",
    [
        lambda: archive({"shape": (10**12,)}),
        lambda: archive({"shape": (10**6, 10**6, 10**6)}, bytes(100)),
        lambda: archive({"shape": (10**6,)}, bytes(1000)),
        lambda: archive({"descr": "|O"}, b"cos\nsystem\n(S'true'\ntR."),
        lambda: io.BytesIO(archive({}).getvalue()[:-30]),
        lambda: io.BytesIO(b"\x93NUMPY" + bytes(100)),
        lambda: io.BytesIO(),
    ],
)
def test_a_hostile_or_damaged_file_raises_what_callers_catch(stream):
    with pytest.raises(npz_files.BROKEN):
        with npz_files.Arrays(stream()) as stored:
            stored["a"]
