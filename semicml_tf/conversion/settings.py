"""How each case of a dataset is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.labels import SIGMOID, LabelDefinition
from semicml_tf.preprocessing.normalisation import USUAL_MR, Normalisation, for_modality, usual
from semicml_tf.preprocessing.plausibility import accepted_codes


@dataclasses.dataclass(frozen=True)
class Settings:
    """How every case of a dataset is built.

    Attributes:
        modalities: names, in the order given.
        reference_modality: modality whose box the network's grid covers.
        spacing_mm: (slice, row, column) of the network's grid; 0 = the case's own.
        normalisation: by modality name.
        labels: the classes or regions, and their values in the label map.
        background_values: values of the label map that are background. A value that is in no class either is an error.
        allow_empty_labels: whether a labelled case may have no foreground.
        allow_missing_modality: whether a case may lack some modalities, but not all.
        accepted: codes of verification's errors that are warnings in this study; see `plausibility.ACCEPTABLE`.
        crop: ``body``: records contain the bounding box of the body in all modalities; ``none``: the whole grid.
    """

    modalities: tuple[str, ...]
    reference_modality: str
    spacing_mm: tuple[float, float, float]
    normalisation: dict[str, Normalisation]
    labels: LabelDefinition
    background_values: tuple[int, ...] = (0,)
    allow_empty_labels: bool = False
    allow_missing_modality: bool = False
    crop: str = "body"
    accepted: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls,
        *,
        modalities: Sequence[str],
        reference_modality: str,
        spacing_mm: Sequence[float],
        normalisation: Sequence[str],
        label_values: Sequence[int],
        background_values: Sequence[int],
        allow_empty_labels: bool,
        labels: Sequence[str] = (),
        label_activation: str = SIGMOID,
        ignore_value: int | None = None,
        allow_missing_modality: bool = False,
        crop: str = "body",
        accept: Sequence[str] = (),
        planned: bool = False,
    ) -> Settings:
        """Reads and checks the values of flags; see `ConvertConfig` for all but `planned`.

        Args:
            planned: whether a plan will choose the normalisation of modalities with unknown names.

        Raises:
            UserError: a value is malformed, values contradict each other, or a modality needs a normalisation.
        """
        modalities = tuple(modalities)
        if not modalities or len(set(modalities)) != len(modalities) or not all(n.isidentifier() for n in modalities):
            raise UserError(
                f"expected distinct names in --modalities, got '{','.join(modalities)}'",
                remedy="For example --modalities=ct,pet",
            )
        reference = reference_modality or modalities[0]
        if reference not in modalities:
            raise UserError(f"--reference_modality={reference} is none of --modalities={','.join(modalities)}")
        background = tuple(sorted(set(background_values)))
        target = _target(labels, label_values, label_activation, ignore_value)
        if not target or set(target.values) & set(background) or ignore_value in background:
            raise UserError(
                f"expected --{'labels' if labels else 'label_values'} apart from --background_values, got "
                f"{list(target.values if target else ())} and {list(background)}"
                + ("" if ignore_value is None else f", ignored {ignore_value}")
            )
        return cls(
            modalities=modalities,
            reference_modality=reference,
            spacing_mm=_spacing(spacing_mm),
            normalisation=_normalisation(modalities, normalisation, planned),
            labels=target,
            background_values=background,
            allow_empty_labels=allow_empty_labels,
            allow_missing_modality=allow_missing_modality,
            crop=crop,
            accepted=accepted_codes(accept),
        )


def _target(
    labels: Sequence[str], label_values: Sequence[int], activation: str, ignore_value: int | None
) -> LabelDefinition | None:
    """The target of --labels, or the one region of --label_values; None if --label_values is empty."""
    if labels:
        return LabelDefinition.parse(labels, activation=activation, ignore_value=ignore_value)
    if activation != SIGMOID:
        raise UserError(
            f"--label_activation={activation} is for the classes of --labels, and there are none",
            remedy="Pass --labels=NAME:VALUE,..., too",
        )
    try:
        return (
            dataclasses.replace(LabelDefinition.plain(label_values), ignore_value=ignore_value)
            if label_values
            else None
        )
    except ValueError as error:
        raise UserError(f"--label_values: {error}", remedy="Correct --label_values or --ignore_value") from error


def _spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    slices, rows, columns = spacing_mm
    # A spacing outside 0.1 mm to 10 cm is a wrong unit or a misplaced comma.
    if not all(value == 0 or 0.1 <= value <= 100 for value in spacing_mm):
        raise UserError(
            "expected --spacing_mm=SLICE,ROW,COLUMN, each 0 (the case's own) or 0.1 to 100, "
            f"got '{','.join(f'{value:g}' for value in spacing_mm)}'",
            remedy="For example --spacing_mm=3.27,4,4",
        )
    return float(slices), float(rows), float(columns)


def _normalisation(modalities: tuple[str, ...], texts: Sequence[str], planned: bool) -> dict[str, Normalisation]:
    overrides: dict[str, str] = {}
    for text in texts:
        name, equals, normalisation = text.partition("=")
        if not equals or name in overrides:
            raise UserError(
                f"expected --normalisation=MODALITY=KIND:LOW:HIGH,... with each modality once, got '{text}'",
                remedy="For example --normalisation=ct=hu:-200:300,pet=suv:0:15",
            )
        if name not in modalities:
            raise UserError(f"--normalisation names '{name}', which is none of --modalities={','.join(modalities)}")
        overrides[name] = normalisation
    if planned:
        overrides = {name: USUAL_MR for name in modalities if usual(name) is None} | overrides
    return {name: for_modality(name, overrides) for name in modalities}
