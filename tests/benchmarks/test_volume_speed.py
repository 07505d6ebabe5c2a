"""Sizes whose patches are the same in this package and in MONAI."""

import pytest

from benchmarks.volume_speed import VolumeSpeedConfig
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch_tiling import intervals


@pytest.mark.parametrize("size", [64, 96, 128, 224])
def test_patches_start_where_monais_do(size):
    config = VolumeSpeedConfig(volume=(size, 64, 64))
    ours = [interval.target.start for interval in intervals(size, config.patch[0])]
    # As `monai.data.utils.dense_patch_slices`: steps of half a patch, the last patch ends at the border.
    assert ours == list(range(0, size - 63, 32)) and ours[-1] == size - 64


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"volume": (96, 128, 100)}, "multiples of 32, each at least 64, got 96,128,100"),
        ({"patch": (64, 128, 128)}, "three equal multiples of 16, got 64,128,128"),
    ],
)
def test_other_sizes_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        VolumeSpeedConfig(**sizes)


def test_a_call_has_as_many_patches_as_a_prediction():
    assert VolumeSpeedConfig().words == ["96,128,128", "64,64,64", "8", "4"]
