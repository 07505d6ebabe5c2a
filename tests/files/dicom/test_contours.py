"""Contours of an RTSTRUCT as label maps."""

import re

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import contours as dicom_contours
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.series import open_series
from tests.files.dicom.test_labels import TILTED, box, corners, images, write_rtstruct
from tests.support import dicom_files as files


def test_contours_along_the_edges_of_voxels(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(1.5, 6.5, 2.5, 8.5, 2), box(3.5, 4.5, 4.5, 6.5, 2)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[2:7, 3:9, 2] = 1
    expected[4, 5:7, 2] = 0  # the contour within is a hole
    np.testing.assert_array_equal(values, expected)


def test_contours_through_the_centres_of_voxels(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(2, 6, 3, 8, 1), corners([8], [10], 3)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[2:7, 3:9, 1] = 1
    expected[8, 10, 3] = 1  # a contour of one point
    np.testing.assert_array_equal(values, expected)


def test_keyhole_contour(tmp_path):
    """Outer ring and hole in one line, joined by a channel of zero width."""
    images(tmp_path / "ct")
    columns = [0.5, 8.5, 8.5, 0.5, 0.5, 2.5, 2.5, 5.5, 5.5, 2.5, 2.5, 0.5]
    rows = [0.5, 0.5, 9.5, 9.5, 4.6, 4.6, 7.5, 7.5, 3.5, 3.5, 4.6, 4.6]
    path = write_rtstruct(tmp_path / "rt", {"GTV": [corners(columns, rows, 2)]})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    expected = np.zeros(grid.shape, int)
    expected[1:9, 1:10, 2] = 1
    expected[3:6, 4:8, 2] = 0
    np.testing.assert_array_equal(values, expected)


def test_round_contour_on_tilted_reversed_slices(tmp_path):
    """Circles on each slice of a ball fill its closed-form volume."""
    shape, radius = (12, 40, 44), 13.0
    normal = np.cross(TILTED[:3], TILTED[3:])
    files.write_series(
        tmp_path / "ct", files.numbers(shape), orientation=TILTED, step=-3 * normal, spacing=(1, 1), origin=(0, 0, 0)
    )
    right, down = np.array(TILTED[:3]), np.array(TILTED[3:])
    centre = 21.3 * right + 19.6 * down - 3 * 5.5 * normal
    contours = []
    for index in range(shape[0]):
        away = -3 * index + 3 * 5.5
        if abs(away) < radius:
            angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
            ring = np.sqrt(radius**2 - away**2)
            centre_here = centre + away * normal
            contours.append(centre_here + ring * (np.outer(np.cos(angle), right) + np.outer(np.sin(angle), down)))
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    values, grid = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    inside = np.linalg.norm(points - centre * (-1, -1, 1), axis=-1) < radius
    dice = 2 * (inside & (values > 0)).sum() / (inside.sum() + values.sum())
    assert dice > 0.998


def test_fill_agrees_with_an_independent_count_of_crossings():
    rng = np.random.default_rng(0)
    for _ in range(20):
        polygon = rng.uniform(-3, 15, (rng.integers(3, 12), 2))  # crosses itself, and the border
        mask = np.zeros((12, 10), bool)
        dicom_contours.fill(mask, [polygon])
        for c, r in np.ndindex(mask.shape):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0)):
                if (y0 > r) != (y1 > r) and x0 + (r - y0) * (x1 - x0) / (y1 - y0) > c:
                    crossings += 1
            window = Bbox([[c - 0.02, r - 0.02], [c + 0.02, r + 0.02]])
            near = Path([*polygon, polygon[0]]).intersects_bbox(window, filled=False)
            assert near or mask[c, r] == crossings % 2


OUTER, HOLE, CORE = (1.5, 8.5, 1.5, 9.5), (2.5, 6.5, 2.5, 7.5), (3.5, 5.5, 3.5, 5.5)


@pytest.mark.parametrize(
    "boxes,kind,voxels,warned",
    [
        ([OUTER, OUTER], "CLOSED_PLANAR", 56, "1 contours that are stored twice"),
        ([OUTER, HOLE, HOLE], "CLOSED_PLANAR", 56 - 20, "stored twice"),
        ([OUTER, HOLE, CORE], "CLOSED_PLANAR", 56 - 20 + 4, None),
        ([OUTER, (1.5, 3.5, 1.5, 3.5)], "CLOSED_PLANAR", 56 - 4, None),  # a hole that touches the line from within
        ([OUTER, (6.5, 9.5, 1.5, 9.5)], "CLOSED_PLANAR", 64, None),  # overlapping: the union, not its difference
        ([(1.5, 4.5, 1.5, 9.5), (4.5, 8.5, 1.5, 9.5)], "CLOSED_PLANAR", 56, None),  # side by side
        ([(1.5, 6.5, 1.5, 9.5), (4.5, 8.5, 1.5, 9.5), (4.75, 6.25, 3.5, 5.5)], "CLOSED_PLANAR", 52, None),
        ([OUTER, (6.5, 9.5, 1.5, 9.5)], "CLOSEDPLANAR_XOR", 56 + 24 - 2 * 16, None),
        ([OUTER, OUTER], "CLOSEDPLANAR_XOR", 0, None),
        ([OUTER, (2.1, 2.2, 2.1, 2.2)], "CLOSED_PLANAR", 56, "1 contours that enclose no voxel centre"),
    ],
)
def test_contours_of_one_slice_are_combined_by_position(tmp_path, boxes, kind, voxels, warned):
    images(tmp_path / "ct")
    for order in (boxes, boxes[::-1]):
        path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*one, 2) for one in order]}, kind)
        values, _, warnings = DicomLabel((path,), open_series(tmp_path / "ct")).read_label_with_warnings()
        assert values.sum() == voxels
        assert bool(warnings) == bool(warned) and all(warned in one.problem for one in warnings)


def test_the_same_contour_from_another_corner_counts_once(tmp_path):
    images(tmp_path / "ct")
    ring = box(*OUTER, 2)
    path = write_rtstruct(tmp_path / "rt", {"GTV": [ring, ring[2:] + ring[:2], ring[::-1]]})
    assert DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].sum() == 56


def test_contours_that_are_not_closed(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*OUTER, 2), box(*HOLE, 3)]})
    made = pydicom.dcmread(path)
    second = made.ROIContourSequence[0].ContourSequence[1]

    def read(kind):
        second.ContourGeometricType = kind
        return DicomLabel((files.save(made, path),), open_series(tmp_path / "ct")).read_label_with_warnings()

    for kind in ("OPEN_PLANAR", "OPEN_NONPLANAR", "", "CIRCLE"):
        with pytest.raises(
            UserError, match=f"1 contours of {f'the type {kind}' if 'OPEN' in kind else 'no known type'}"
        ):
            read(kind)
    values, _, (warning,) = read("POINT")
    assert values.sum() == 56 and "1 contours of the type POINT are not used" in warning.problem
    second.ContourData = list(np.ravel(box(*HOLE, 2)))
    with pytest.raises(UserError, match="of the types CLOSED_PLANAR and CLOSEDPLANAR_XOR lie on one slice"):
        read("CLOSEDPLANAR_XOR")


@pytest.mark.parametrize(
    "slices,outcome",
    [
        ((0, 1, 2, 3), None),
        ((0, 1, 3, 4), "1 slices without a contour .* between slices 1 and 3"),
        ((0, 1, 2, 5), "2 slices without a contour"),
        ((0, 2, 4, 5), "drawn on 4 slices, with a gap after 2 of them"),
        ((1, 3, 5), "no two of which are adjacent"),
    ],
)
def test_gaps_between_drawn_slices(tmp_path, slices, outcome):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(*OUTER, height) for height in slices]})
    label = DicomLabel((path,), open_series(tmp_path / "ct"))
    if outcome and "drawn on" in outcome or outcome == "no two of which are adjacent":
        with pytest.raises(UserError, match=outcome):
            label.read_label()
        return
    _, _, warnings = label.read_label_with_warnings()
    assert [one.code for one in warnings] == ["label_contours"] * bool(outcome)
    assert not outcome or re.search(outcome, warnings[0].problem)


def test_lesions_that_do_not_overlap_in_the_plane_are_no_gap(tmp_path):
    images(tmp_path / "ct")
    contours = [box(0.5, 3.5, 0.5, 3.5, n) for n in (0, 1)] + [box(5.5, 8.5, 6.5, 9.5, n) for n in (3, 4)]
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    values, _, warnings = DicomLabel((path,), open_series(tmp_path / "ct")).read_label_with_warnings()
    assert values.sum() == 4 * 9 and not warnings


def test_structure_without_contours_is_empty(tmp_path):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": []})
    assert not DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0].any()
    point = write_rtstruct(tmp_path / "point", {"GTV": [corners([3], [3], 2)]}, kind="POINT")
    assert not DicomLabel((point,), open_series(tmp_path / "ct")).read_label()[0].any()


@pytest.mark.parametrize(
    "contours,message",
    [
        ([box(1.5, 3.5, 1.5, 3.5, 2.5)], "lies in no slice"),
        ([box(1.5, 3.5, 1.5, 3.5, 9)], "lies in no slice"),
        ([[(-20, 33, 100), (-18, 33, 103), (-18, 36, 106)]], "lies in no slice"),
        ([box(1.5, 3.5, 1.5, 3.5, n) for n in (0, 2, 4)], "drawn on 3 slices, no two of which are adjacent"),
        ([[(1, 2, 3), (4, 5, 6)], [(1, 2)]], "no triples of numbers"),
    ],
)
def test_contours_that_are_refused(tmp_path, contours, message):
    images(tmp_path / "ct")
    path = write_rtstruct(tmp_path / "rt", {"GTV": contours})
    with pytest.raises(UserError, match=message) as caught:
        DicomLabel((path,), open_series(tmp_path / "ct")).read_label()
    assert not any(secret in caught.value.line for secret in files.SECRETS)


def test_contours_need_their_images(tmp_path):
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(1.5, 3.5, 1.5, 3.5, 2)]})
    with pytest.raises(UserError, match="the images on which the contours were drawn are missing"):
        DicomLabel((path,)).read_label()
