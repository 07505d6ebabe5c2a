"""The residual encoder: its blocks, and where they change size."""

from semicml_tf.networks import catalogue
from semicml_tf.networks.resunet import BLOCKS
from semicml_tf.networks.spec import NetworkSpec


def test_each_level_has_its_blocks_and_the_first_of_them_changes_size():
    spec = NetworkSpec("resunet", (4, 16, 16), 2, 3, 3, strides=((1, 2, 2), (2, 2, 2)))
    network = catalogue.build(spec, name="ct")
    layers = {layer.name: layer for layer in network.layers}
    for level, steps in enumerate([(1, 1, 1), *spec.strides]):
        convolutions = [
            layers[name] for name in layers if name.startswith(f"encoder{level}_") and name.endswith("_conv")
        ]
        shortcuts = [layer for layer in convolutions if "shortcut" in layer.name]
        assert len(convolutions) - len(shortcuts) == 2 * BLOCKS[level] and len(shortcuts) == (level > 0)
        assert {layer.kernel_size for layer in convolutions if layer not in shortcuts} == {spec.kernels[level]}
        strides = [layer.strides for layer in convolutions if layer not in shortcuts]
        assert strides == [steps, *[(1, 1, 1)] * (len(strides) - 1)]
    assert [x.shape[1:] for x in network.parts.encoder] == [(4, 16, 16, 2), (4, 8, 8, 4), (2, 4, 4, 8)]
