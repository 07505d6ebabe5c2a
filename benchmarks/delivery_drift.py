"""How often chance passes for drift between two deliveries, and how small a change of scale is found.

    .venv-tfx/bin/python -m benchmarks.delivery_drift --dataset=DATASET

The cases of one dataset are drawn at random into earlier and new ones. As they are, whatever is found is chance; then
the new ones' intensities of one modality are multiplied. In the environment of TFX.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from absl import flags

from pipelines import curated_schema, delivery_report
from pipelines.data_part import PHANTOM_SCHEMA
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import case_cards

_SCALED = ("min", "max", "mean", "std")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    text = {"flag_values": values}
    flags.DEFINE_string("dataset", None, "Folder of a converted dataset.", **text)
    flags.DEFINE_string("schema", str(PHANTOM_SCHEMA), "Curated schema.", **text)
    flags.DEFINE_list("sizes", ["4:16", "8:24", "16:48"], "NEW:EARLIER numbers of cases.", **text)
    flags.DEFINE_string("modality", "pet", "Whose intensities are scaled.", **text)
    flags.DEFINE_list("factors", ["1.2", "1.5", "2"], "By what.", **text)
    flags.DEFINE_integer("draws", 10, "Of each size.", lower_bound=1, **text)


def scaled(cards: Sequence[case_cards.Card], modality: str, factor: float) -> list[case_cards.Card]:
    """The cards of cases whose modality is stored in another unit."""

    def value(name, held):
        above, _, last = name.partition("/")
        is_intensity = above == modality and (last in _SCALED or last.startswith("p") or last == "lesion/mean")
        return held * factor if is_intensity else held

    return [{name: value(name, held) for name, held in card.items()} for card in cards]


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if not values.dataset:
        raise UserError("expected --dataset, got none", remedy="See --help")
    cards, schema = case_cards.load(values.dataset), curated_schema.read(values.schema)
    factors = [float(factor) for factor in values.factors]
    head = ["new : earlier cases", "divergence alone, by chance", "found, by chance"]
    head += [f"found, {values.modality} x {factor:g}" for factor in factors]
    print(f"of {values.draws} draws\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for size in values.sizes:
        new, earlier = (int(number) for number in size.split(":"))
        if new + earlier > len(cards):
            raise UserError(f"expected {new + earlier} cases or more, got {len(cards)}", path=values.dataset)
        draw, alone, found = random.Random(0), 0, [0] * (1 + len(factors))
        for _ in range(values.draws):
            drawn = draw.sample(cards, new + earlier)
            for place, factor in enumerate((1.0, *factors)):
                delivered = scaled(drawn[:new], values.modality, factor)
                told = delivery_report.compare(delivered, drawn[new:], schema, "drift")
                found[place] += any(one.differs for one in told)
                alone += not place and any(one.divergence > one.threshold for one in told)
        print(f"| {size} | {' | '.join(map(str, (alone, *found)))} |", flush=True)


if __name__ == "__main__":
    commandline.run("benchmarks.delivery_drift")
