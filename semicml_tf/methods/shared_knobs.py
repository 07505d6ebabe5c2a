"""The knobs that several methods read. Knobs of a single method are in its file."""

from __future__ import annotations

from semicml_tf.configuration import option
from semicml_tf.methods.declaration import knobs


@knobs("the optimiser")
class Optimiser:
    """Optimiser and learning rate, for all methods."""

    optimizer: str = option("adam", "Optimiser of both students.", choices=("adam", "sgd"))
    learning_rate: float = option(0.003, "Learning rate at its peak.", above=0.0)
    lr_schedule: str = option(
        "cosine",
        "Schedule after the warm-up: a cosine to 0 over the run, a cosine over each stage (restarts), or drops.",
        choices=("cosine", "restarts", "drops"),
    )
    lr_warmup_epochs: float = option(1.0, "Epochs of linear warm-up.", low=0.0)
    lr_drop_epochs: tuple[int, ...] = option((), "Epochs of the run at which the rate falls to a tenth (drops).")
    lr_later_stages: float = option(0.5, "Factor on the learning rate in stages after the first (restarts).", low=0.0)
    l2: float = option(1e-4, "L2 term added to the gradients (PyTorch's weight decay of Adam).", low=0.0)


@knobs("the supervised loss and the moving average")
class Supervision:
    """The labelled loss and the moving averages of students, for all methods."""

    bce_weight: float = option(10.0, "Weight of the cross entropy in the supervised loss.", low=0.0)
    dice_weight: float = option(7.0, "Weight of the Dice loss in the supervised loss.", low=0.0)
    deep_supervision: bool = option(
        False,
        "Labelled loss also at the coarser scales of the decoder, with weights that halve from scale to scale. The "
        "saved network has a single output.",
    )
    ema_decay: float = option(
        0.99,
        "Decay of the moving average of each student's weights. The average is validated and saved; 0 saves the "
        "student itself.",
        low=0.0,
        high=0.9999,
    )
    batch_statistics: str = option(
        "each",
        "Statistics of batch normalisation in training: of all slices of a step (joint), or of each stream or view.",
        choices=("joint", "each"),
    )


@knobs("the ASC loss")
class AscLoss:
    """The area-similarity contrastive loss between modalities."""

    asc_weight: float = option(5.0, "Weight of the ASC loss. 0 turns it off.", low=0.0)
    asc_temperature: float = option(1.0, "Temperature of the ASC loss.", above=0.0)
    asc_similarity: str = option("dice", "Area similarity of the ASC loss.", choices=("dice", "iou", "cosine"))
    asc_negatives: str = option(
        "other_patients",
        "Pairs of maps that the ASC loss pushes apart: all of them, or those of different patients only.",
        choices=("all", "other_patients"),
    )
    asc_empty: str = option(
        "skip",
        "Maps without foreground in the ASC loss: keep them, or skip them as negatives and as anchors.",
        choices=("keep", "skip"),
    )


@knobs("the teacher")
class PoolTeacher:
    """The teacher of PReL, which Semi-CML may already build from its best models."""

    teacher: str = option(
        "average",
        "PReL's teacher: the moving average of the student, or a moving average of its best models (pool).",
        choices=("average", "pool"),
    )
    pool_size: int = option(6, "Number of best validation scores that the pool teacher keeps.", low=1)
    pool_first_epoch: int = option(11, "Epoch from which the pool teacher keeps scores.", low=0)
    pool_copy_epoch: int = option(17, "Epoch at which the pool teacher copies the student.", low=0)


@knobs("the unlabelled loss")
class UnlabelledLoss:
    """The weight of the unlabelled term, by default as in SSL4MIS unless a comment gives a reason."""

    unlabelled_weight: float = option(
        0.1, "Full weight of the unlabelled loss. 0 trains on labelled slices only.", low=0.0, high=1000.0
    )
    # In SSL4MIS, the weight grows over all 30,000 steps. In a short run, the learning rate would fall before that.
    unlabelled_ramp: float = option(
        0.4,
        "Fraction u of the stage in which this weight grows as exp(-5 (1 - u)^2). 0 gives full weight from the start.",
        low=0.0,
        high=1.0,
    )


@knobs("the noisy moving average")
class NoisyAverage:
    """The input of the moving average as a teacher."""

    input_noise: float = option(
        0.1,
        "Standard deviation of the noise on the moving average's input. The noise is clipped at twice that.",
        low=0.0,
        high=10.0,
    )


@knobs("auxiliary outputs")
class AuxiliaryOutputs:
    """The labelled loss of auxiliary outputs."""

    auxiliary_supervised: float = option(
        1.0,
        "Weight of each auxiliary output's labelled loss. The main output has weight 1; the loss is their mean.",
        low=0.0,
        high=100.0,
    )
