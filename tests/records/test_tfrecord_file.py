"""TFRecord files without TensorFlow: the bytes are TensorFlow's, and damage is reported with its place."""

import io
import subprocess
import sys

import pytest
import tensorflow as tf

from semicml_tf.records import tfrecord_file

CONTENTS = [b"first", b"", bytes(range(256)) * 300, b"last"]


def starts():
    """Byte at which each record of CONTENTS begins, and the file's size."""
    places = [0]
    for content in CONTENTS:
        places.append(places[-1] + 12 + len(content) + 4)
    return places


@pytest.fixture
def whole():
    stream = io.BytesIO()
    for content in CONTENTS:
        tfrecord_file.write(stream, content)
    return stream.getvalue()


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


def damages(content):
    return [
        (record.index, record.offset, record.damage.reason)
        for record in tfrecord_file.scan(io.BytesIO(content))
        if record.damage
    ]


def readable(content):
    return [record.index for record in tfrecord_file.scan(io.BytesIO(content)) if record.content is not None]


def test_the_checksum_is_the_published_one_and_in_c():
    # RFC 3720, B.4: 32 bytes of zeros; masked as TFRecord asks.
    crc = 0x8A9136AA
    assert tfrecord_file._masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord_file.CRC_IS_FAST


def test_the_bytes_are_tensorflows(whole, tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in CONTENTS:
            writer.write(content)
    assert path.read_bytes() == whole and len(whole) == starts()[-1]
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == CONTENTS
    with open(path, "rb") as stream:
        assert list(tfrecord_file.read_all(stream)) == CONTENTS


def test_a_record_is_read_by_its_number(whole):
    for index, content in enumerate(CONTENTS):
        assert tfrecord_file.read_one(io.BytesIO(whole), index) == content
    for index in (4, 9):
        with pytest.raises(tfrecord_file.TooShort, match=f"a record {index}, got 4 records"):
            tfrecord_file.read_one(io.BytesIO(whole), index)
    with pytest.raises(tfrecord_file.TooShort):
        tfrecord_file.read_one(io.BytesIO(), 0)


def test_reading_one_record_skips_the_content_of_earlier_ones(whole):
    read = []

    class Counting(io.BytesIO):
        def read(self, size=-1):
            content = super().read(size)
            read.append(len(content))
            return content

    assert tfrecord_file.read_one(Counting(whole), 3) == b"last"
    assert sum(read) == 4 * 12 + len(b"last") + 4


def test_a_flipped_bit_is_reported_at_any_place(whole):
    places = starts()
    for place in range(0, len(whole), 97 if len(whole) > 2000 else 1):
        index = max(number for number in range(4) if places[number] <= place)
        damaged = damages(flipped(whole, place))
        assert [(number, offset) for number, offset, _ in damaged] == [(index, places[index])]
        header = place - places[index] < 12
        assert ("header" in damaged[0][2]) == header
        # Records after damaged content are read. A damaged header hides all later records.
        assert readable(flipped(whole, place)) == [n for n in range(4) if n < index or (n > index and not header)]


@pytest.mark.parametrize("index", [0, 2, 3])
def test_a_truncated_file_is_reported(whole, index):
    start, end = starts()[index], starts()[index + 1]
    for cut in (start + 1, start + 11, start + 12, end - 5, end - 1):
        damaged = damages(whole[:cut])
        assert len(damaged) == 1 and damaged[0][:2] == (index, start)
        assert f"{cut - start} of {12 if cut - start < 12 else end - start} bytes" in damaged[0][2]
        assert readable(whole[:cut]) == list(range(index))
        with pytest.raises(tfrecord_file.Damage, match=f"record {index} at byte {start}: the file ends within"):
            list(tfrecord_file.read_all(io.BytesIO(whole[:cut])))
        with pytest.raises(tfrecord_file.Damage):
            tfrecord_file.read_one(io.BytesIO(whole[:cut]), 3)
    assert damages(whole[:start]) == []  # a file that is cut between two records is valid


def test_files_of_other_formats_are_reported():
    for content in (b"\x1f\x8b" + bytes(40), b"some text of more than twelve letters", bytes(12)):
        assert damages(content) == [(0, 0, "its header fails its checksum; later records cannot be found")]


def test_a_valid_header_with_a_huge_length_reserves_no_memory():
    length = (2**62).to_bytes(8, "little")
    header = length + tfrecord_file._masked_crc(length).to_bytes(4, "little")
    assert damages(header + b"x")[0][2] == f"the file ends within it, after 13 of {2**62 + 16} bytes"


def test_reading_one_record_reports_damaged_headers_before_it(whole):
    body, header = starts()[2] + 50, starts()[2] + 3
    assert tfrecord_file.read_one(io.BytesIO(flipped(whole, body)), 3) == b"last"
    for index, place in ((2, body), (2, header), (3, header)):
        with pytest.raises(tfrecord_file.Damage, match=f"record 2 at byte {starts()[2]}"):
            tfrecord_file.read_one(io.BytesIO(flipped(whole, place)), index)


def test_records_are_written_and_read_without_tensorflow():
    program = (
        "import sys, io, numpy as np\n"
        "from semicml_tf.records import case_record as contract, dataset, shards, tfrecord_file\n"
        "from semicml_tf.geometry.grid import Grid\n"
        "from semicml_tf.preprocessing.normalisation import Constants\n"
        "grid = Grid((2, 2, 2), np.eye(4))\n"
        "case = contract.CaseRecord('a', grid, {'ct': np.zeros(grid.shape, np.float16)}, "
        "{'ct': Constants(0, 1, 0, 1)}, grid)\n"
        "stream = io.BytesIO()\n"
        "tfrecord_file.write(stream, contract.encode(case))\n"
        "assert contract.decode(tfrecord_file.read_one(stream, 0)).case_id == 'a'\n"
        "print([m for m in ('tensorflow', 'keras', 'apache_beam', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
