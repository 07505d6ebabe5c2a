"""PReL: all students learn from soft labels by the teachers of all modalities, or of the best modality."""

from __future__ import annotations

from collections.abc import Iterator

from semicml_tf.configuration import Problem, option
from semicml_tf.errors import UserError
from semicml_tf.methods.declaration import Declaration, knobs
from semicml_tf.methods.shared_knobs import AscLoss, PoolTeacher


@knobs("PReL")
class PrelKnobs:
    """The teachers, their pseudo-labels, and the losses on pseudo-labels."""

    teacher_modality: str = option(
        "auto",
        "The strongest modality, which is the only teacher with --teachers=better. auto chooses it by validation DSC.",
    )
    teachers: str = option(
        "both",
        "Teachers that make the pseudo-labels: those of all modalities together (both), or the best modality's "
        "(better).",
        choices=("better", "both"),
    )
    label_fusion: str = option(
        "odds",
        "How the teachers' maps become one pseudo-label: their mean, the sum of their log-odds (odds), or a weighted "
        "sum with an offset, both fitted to the labels of validation patients after each epoch (fitted). Log-odds are "
        "relative to the threshold that validation chose for each modality.",
        choices=("mean", "odds", "fitted"),
    )
    fusion_deviation: float = option(
        1.0,
        "Standard deviation of the prior of each fitted weight about 1, and of each fitted offset about 0. With 0, the "
        "fitted sum is the plain sum.",
        low=0.0,
        high=100.0,
    )
    label_sharpness: float = option(1.0, "Factor on the sum of log-odds.", above=0.0)
    teacher_passes: int = option(1, "Passes of the teacher over a slice. A pseudo-label is their mean.", low=1)
    teacher_dropout: bool = option(False, "Apply dropout in the teacher's passes.")
    teacher_batch_statistics: bool = option(
        False, "Normalise the teacher's features by batch statistics, and update the moving statistics, as in training."
    )
    teacher_noise: float = option(0.0, "Standard deviation of the noise on the teacher's input.", low=0.0)
    teacher_noise_low: float = option(-0.2, "Lower bound of this noise.")
    teacher_noise_high: float = option(0.2, "Upper bound of this noise.")
    student_view: float = option(
        0.0,
        "Strength of distortions that the students' unlabelled slices get and the teachers' do not: contrast, "
        "brightness, blur and noise, as the strong view of FixMatch. 0 turns them off.",
        low=0.0,
        high=2.0,
    )
    pseudo_labels: str = option(
        "soft", "Pseudo-labels: the teachers' map, or this map thresholded at 0.5 (hard).", choices=("soft", "hard")
    )
    label_weighting: str = option(
        "none",
        "Weight of a pixel in the cross entropy and Dice loss on pseudo-labels: 1 (none), or the certainty |2 q - 1| "
        "of its label q (confidence).",
        choices=("none", "confidence"),
    )
    prel_weight: float = option(1.0, "Weight of the pseudo-label loss beside the labelled loss.", low=0.0)
    prel_keep_labelled: bool = option(True, "Keep the labelled loss.")
    prel_asc_weak: float = option(
        0.01, "Fraction of ASC in the pseudo-label loss of the weaker modalities.", low=0.0, high=1.0
    )
    prel_asc_strong: float = option(
        0.2, "Fraction of ASC in the pseudo-label loss of the strongest modality.", low=0.0, high=1.0
    )
    prel_strong_from: float = option(
        0.0,
        "Fraction of the stage after which the strongest modality also learns from the pseudo-labels.",
        low=0.0,
        high=1.0,
    )


def _contradictions(settings) -> Iterator[Problem]:
    if settings.teacher_noise_low > settings.teacher_noise_high:
        yield (
            f"expected --teacher_noise_low up to --teacher_noise_high, got {settings.teacher_noise_low} and "
            f"{settings.teacher_noise_high}",
            "Correct one of them",
        )
    if settings.teacher_batch_statistics and settings.teacher != "pool":
        yield (
            "--teacher_batch_statistics needs --teacher=pool: a moving average has its own statistics",
            "Correct one of them",
        )
    if settings.label_fusion == "fitted" and settings.teacher != "average":
        yield (
            "--label_fusion=fitted needs --teacher=average: the fit uses the maps of the validated networks",
            "Correct one of them",
        )


METHOD = Declaration(
    "re-learning from soft pseudo-labels of all teachers, or of the best one (PReL)",
    knobs=(AscLoss, PoolTeacher, PrelKnobs),
    least_modalities=2,
    needs_average=lambda settings: settings.teacher == "average",
    needs_scores=lambda settings: settings.teacher_modality == "auto",
    needs_dropout=lambda settings: settings.teacher_dropout,
    contradictions=_contradictions,
)


def stage_class():
    """The class of the method, a Keras model. Keras is imported here, so that `--help` does not wait for it."""
    from keras import ops

    from semicml_tf.losses.asc import asc_loss
    from semicml_tf.methods import contrastive_monitor, pseudo_label_monitor
    from semicml_tf.methods.fitted_fusion import FittedFusion
    from semicml_tf.methods.pool_teacher import PooledMethod
    from semicml_tf.methods.presence import pixels_of, slices_with_any
    from semicml_tf.methods.soft_labels import SoftLabeller, confidence, soft_label
    from semicml_tf.methods.views import strong_view
    from semicml_tf.networks.sample_noise import seeds_for

    class Stage(PooledMethod):
        """``L = prel_weight (sum over weak m of L_teach,m + W(t) L_teach,strong)``, and the labelled loss if kept::

            L_teach,m = a_m L_ASC(q, p_m) + (1 - a_m) [bce_weight BCE(p_m, q) + dice_weight DiceLoss(p_m, q)]

        W is 0 until `prel_strong_from` of the stage, then 1. a_m is `prel_asc_weak` or `prel_asc_strong`, and 0 where
        `asc_weight` is 0. Strong is the best modality on validation patients, and all others are weak. Zhang et al.,
        Medical Image Analysis 83 (2023) 102656, by a third-party copy of its training script. There, only the
        better of two modalities writes q.
        """

        def __init__(self, modalities, build, settings, plan, scores):
            super().__init__(modalities, build, settings, plan, scores)
            if not self.pool and not self.averages:
                raise UserError("PReL with --teacher=average needs a moving average", remedy="Set --ema_decay above 0")
            self.teacher_modality = self._choose(scores)
            teachers = self.pool.teachers if self.pool else self.averages
            writers = self.modalities if settings.teachers == "both" else (self.teacher_modality,)
            self.labellers = {name: SoftLabeller(teachers[name], settings) for name in writers}
            if settings.label_fusion == "fitted":
                kind = self.spec.output_channels, self.spec.exclusive
                self.fusion = FittedFusion(writers, *kind, settings.fusion_deviation)

        def _choose(self, scores) -> str:
            """The named modality, or the best one on validation patients."""
            name = self.settings.teacher_modality
            if name != "auto":
                if name not in self.modalities:
                    raise UserError(
                        f"expected a teacher among {', '.join(self.modalities)}, got '{name}'",
                        remedy="Correct --teacher_modality, or leave it to auto",
                    )
                return name
            if not scores:
                raise UserError(
                    "PReL chooses its teacher by validation scores, and there are none yet",
                    remedy="Train another stage first, start from a run with --init_from, or set --teacher_modality",
                )
            return max(self.modalities, key=lambda modality: scores[modality])

        def begin(self):
            # If the first stage ends before `pool_copy_epoch`, the teachers still have initial weights.
            if self.pool and not self.pool.copied:
                self.pool.copy_students(self.students)

        def views(self, batch):
            strength, stream = self.settings.student_view, batch["unlabelled"]
            if not strength:
                return batch
            distorted = {
                name: strong_view(image, seeds_for(f"student/{name}", stream["seed"]), strength)
                for name, image in stream["image"].items()
            }
            return {**batch, "unlabelled": {**stream, "image": distorted}}

        def targets(self, batch):
            unlabelled = batch["unlabelled"]
            maps = {
                name: labeller(unlabelled["image"][name], unlabelled["seed"])
                for name, labeller in self.labellers.items()
            }
            label = soft_label(
                maps,
                self.thresholds,
                self.settings,
                exclusive=self.spec.exclusive,
                present=unlabelled.get("present"),
                fusion=self.fusion,
            )
            return {"q": label}

        def _slices_with_label(self, batch):
            """The unlabelled slices with a label by at least one teacher."""
            return slices_with_any(batch["unlabelled"].get("present"), list(self.labellers))

        def loss_terms(self, batch, maps, targets):
            settings, q, patients = self.settings, targets["q"], batch["unlabelled"]["patient"]
            terms = {"supervised": self.supervised_term(batch, maps)} if settings.prel_keep_labelled else {}
            strong_now = ops.cast(self.progress() >= settings.prel_strong_from, "float32")
            present, with_label = batch["unlabelled"].get("present"), self._slices_with_label(batch)
            weights = confidence(q, exclusive=self.spec.exclusive) if settings.label_weighting == "confidence" else None
            for name in self.modalities:
                strong = name == self.teacher_modality
                share = (settings.prel_asc_strong if strong else settings.prel_asc_weak) if settings.asc_weight else 0.0
                p = maps["unlabelled"][name]
                slices = None if present is None else present[name] * with_label
                contrast = asc_loss(
                    q,
                    p,
                    patients,
                    temperature=settings.asc_temperature,
                    similarity=settings.asc_similarity,
                    negatives=settings.asc_negatives,
                    empty=settings.asc_empty,
                    slices=slices,
                )
                segmentation = self.segmentation_loss(p, q, valid=pixels_of(slices, p, weights))
                weight = settings.prel_weight * (strong_now if strong else 1.0)
                terms[f"teach_{name}"] = ops.multiply(weight, share * contrast + (1.0 - share) * segmentation)
            return terms

        def observations(self, batch, maps, targets):
            students = {name: maps["unlabelled"][name] for name in self.modalities}
            labelled, unlabelled = batch["labelled"], batch["unlabelled"]
            shares = pseudo_label_monitor.shares(
                targets["q"],
                labelled["label"],
                self.class_names,
                valid=labelled.get("valid"),
                slices=self._slices_with_label(batch),
            )
            contrast = contrastive_monitor.scalars(
                students, unlabelled["patient"], self.settings, unlabelled.get("present")
            )
            return {**shares, **contrast}

        def alarms(self, means):
            return pseudo_label_monitor.alarms(means, self.class_names)

        @property
        def silence_remedy(self):
            return "lower --prel_weight, --prel_asc_weak and --prel_asc_strong, or pass --prel_keep_labelled"

        def label_writers(self):
            teachers = self.pool.teachers if self.pool else self.averages
            return {name: teachers[name] for name in self.labellers}

        def facts(self):
            weights = self.fusion.columns(self.class_names) if self.fusion else {}
            return {"teacher": self.teacher_modality, **weights}

        def state(self):
            return super().state() | ({"fusion": self.fusion.state()} if self.fusion else {})

        def restore_state(self, state):
            super().restore_state(state)
            if self.fusion and "fusion" in state:
                self.fusion.restore(state["fusion"])

    return Stage
