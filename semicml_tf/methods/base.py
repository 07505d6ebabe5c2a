"""The interface of a training method: a Keras model whose `train_step` updates one student a modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods import replicas
from semicml_tf.methods.adam import Adam
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.schedule import LearningRate, StagePlan

# Builds a network for a modality: (modality) -> keras.Model.
NetworkFactory = Callable[[str], keras.Model]


class Method(keras.Model):
    """Two students and how one step updates them. Subclasses override `loss_terms`, at times the hooks.

    A batch is ``{"labelled": stream, "unlabelled": stream}`` as `input.semi_supervised_batches.batches` yields it.

    Args:
        modalities: names, in the dataset's order.
        build: makes a network for a modality.
        settings: the knobs.
        plan: the stage's place in the run.
        scores: best mean validation Dice by modality so far; empty in a run's first stage.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        build: NetworkFactory,
        settings: MethodSettings,
        plan: StagePlan,
        scores: Mapping[str, float],
    ):
        super().__init__(name=type(self).__module__.rsplit(".", 1)[-1])
        self.settings, self.plan, self.modalities = settings, plan, tuple(modalities)
        self.students = {name: build(name) for name in modalities}
        self.averages = {name: build(name) for name in modalities} if settings.ema_decay > 0 else {}
        for average in self.averages.values():
            average.trainable = False
        # Variables, so that a step that is compiled once reads what the last validation chose.
        self.thresholds = {
            name: keras.Variable(0.5, trainable=False, dtype="float32", name=f"threshold_{name}") for name in modalities
        }
        self.companions = self.make_companions(build)
        self.student_optimizers = {name: self._optimizer(self.students[name]) for name in modalities}
        for name, optimizer in self.student_optimizers.items():
            optimizer.build(self._variables(name))
        self.built = True

    def _optimizer(self, student: keras.Model) -> keras.optimizers.Optimizer:
        rate = LearningRate(self.settings, self.plan)
        plain = keras.optimizers.SGD(rate) if self.settings.optimizer == "sgd" else Adam(rate)
        # Small gradients vanish in float16: the loss is scaled up, and a step that overflows is left out.
        half = any(layer.compute_dtype == "float16" for layer in student.layers)
        return keras.optimizers.LossScaleOptimizer(plain) if half else plain

    # What a method says of itself.

    # Views whose batch statistics, where each view has its own, leave no trace in the moving ones: distorted slices
    # are not what a network is asked about later.
    passing_views: tuple[str, ...] = ()

    def make_companions(self, build: NetworkFactory) -> dict[str, dict[str, keras.Model]]:
        """Networks that learn beside the students, by kind and modality; a modality's optimiser updates them, too."""
        return {}

    def views(self, batch) -> dict[str, Any]:
        """What the networks look at in a step, by name: each holds ``image`` by modality, and ``seed``, as streams do.

        Args:
            batch: the global batch; views of it are dealt to the replicas as the batch was.
        """
        return batch

    def maps_of(self, name: str, images, seeds) -> dict[str, Any]:
        """Maps of a modality's networks in training, by name: the student's under the modality's.

        Args:
            name: the modality.
            images: (batch, h, w, 1), seeds: (batch,) int32.
        """
        return {name: self.students[name](images, training=True)}

    def loss_terms(self, batch, maps, targets) -> dict[str, Any]:
        """The terms of the loss, already weighted; their sum is minimised.

        Args:
            batch: the global batch.
            maps: the networks' predictions on it, ``{view: {name of `maps_of`: (batch, h, w, 1)}}``.
            targets: what `targets` returned, gathered.

        Returns:
            Scalars by name. All inputs are global, so means and sums are over the global batch.
        """
        return {"supervised": self.supervised_term(batch, maps)}

    def observations(self, batch, maps, targets) -> dict[str, Any]:
        """Scalars to log beside the terms of the loss, of which they are no part; arguments as `loss_terms`."""
        return {}

    def targets(self, batch) -> dict[str, Any]:
        """Maps of the unlabelled slices, made before the step and without gradients: (batch, h, w, 1) by name."""
        return {}

    def networks(self) -> dict[str, keras.Model]:
        """Every network that a checkpoint must hold and that the next stage may take over, by key."""
        kinds = {"student": self.students, "average": self.averages, **self.companions}
        return {f"{kind}/{name}": network for kind, held in kinds.items() for name, network in held.items()}

    def start_from(self, network_of: Callable[[str], keras.Model], thresholds: Mapping[str, float]) -> None:
        """Begins with another run's best networks, and the thresholds on them, by modality.

        Companions, which that run has not, begin anew.
        """
        for name, value in thresholds.items():
            self.thresholds[name].assign(value)
        for key, network in self.networks().items():
            kind, name = key.split("/")
            if kind not in self.companions:
                network.set_weights(network_of(name).get_weights())

    def begin(self) -> None:
        """Called once, after the previous stage's networks were taken over and before the first step."""

    def on_validated(self, epoch: int, dice: Mapping[str, float], thresholds: Mapping[str, float]) -> None:
        """Called after each validation with the mean Dice of `deployed`, and the threshold of it, by modality.

        `epoch` counts over the run.
        """
        for name, value in thresholds.items():
            self.thresholds[name].assign(value)

    def facts(self) -> dict[str, str]:
        """What a reader of the run's history should know of this stage, by column."""
        return {}

    def alarms(self, means: Mapping[str, float]) -> list[str]:
        """What is wrong with an epoch, a line each with what to do; `means` are those of the step's terms."""
        return []

    @property
    def silence_remedy(self) -> str:
        """What to do where a network goes on predicting no foreground."""
        return "train for more --epochs, or lower --learning_rate"

    def label_writers(self) -> dict[str, keras.Model]:
        """Networks that write labels for the students, by modality; a run keeps them as they are at the beginning."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside networks and optimisers; JSON values."""
        return {"thresholds": {name: float(ops.convert_to_numpy(value)) for name, value in self.thresholds.items()}}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; also takes over what the previous stage's `state` held."""
        for name, value in state["thresholds"].items():
            self.thresholds[name].assign(value)

    # What is the same for all of them.

    @property
    def deployed(self) -> dict[str, keras.Model]:
        """The network of each modality that is validated, kept and exported."""
        return self.averages or self.students

    def progress(self):
        """Share of the stage that is done, a scalar in [0, 1)."""
        steps = self.student_optimizers[self.modalities[0]].iterations
        return ops.cast(steps, "float32") / self.plan.steps

    def _variables(self, name: str):
        """What a modality's optimiser updates."""
        networks = [self.students[name], *(held[name] for held in self.companions.values())]
        return [variable for network in networks for variable in network.trainable_variables]

    def supervised_term(self, batch, maps):
        """Sum over modalities, and networks that learn, of the supervised loss on the labelled stream."""
        how, label = self.settings, batch["labelled"]["label"]
        return sum(
            segmentation_loss(p, label, bce_weight=how.bce_weight, dice_weight=how.dice_weight)
            for p in maps["labelled"].values()
        )

    def _maps(self, views):
        """Maps of all networks on the views: one call a network, or one a view, by whose statistics normalise."""
        maps: dict[str, dict[str, Any]] = {view: {} for view in views}
        calls = [list(views)] if self.settings.batch_statistics == "joint" else [[view] for view in views]
        for name in self.modalities:
            for called in calls:
                parts = [views[view]["image"][name] for view in called]
                seeds = tf.concat([views[view]["seed"] for view in called], axis=0)
                kept = self._statistics(name) if set(called) <= set(self.passing_views) else {}
                # Read before the call moves them.
                with tf.control_dependencies(list(kept.values())):
                    found = self.maps_of(name, tf.concat(parts, axis=0), seeds)
                for index, value in kept.items():
                    self.students[name].non_trainable_variables[index].assign(value)
                for key, joint in found.items():
                    for view, part in zip(called, tf.split(joint, [tf.shape(part)[0] for part in parts], axis=0)):
                        maps[view][key] = part
        return maps

    def _statistics(self, name: str):
        """The moving statistics of a student's batch normalisation as they are, by the variable's index."""
        held = enumerate(self.students[name].non_trainable_variables)
        return {index: tf.identity(tf.convert_to_tensor(v)) for index, v in held if v.dtype.startswith("float")}

    def train_step(self, batch):
        """One update of all networks that learn.

        Returns:
            Scalars: ``loss``; its terms, ``loss_TERM``; the observations; ``gradient_norm_MODALITY``, the
            Euclidean norm of what the modality's optimiser gets, where `replicas.norm` tells it.
        """
        targets = tf.nest.map_structure(tf.stop_gradient, self.targets(batch))
        targets = replicas.gathered({"targets": targets})["targets"]
        everything = replicas.gathered(batch)
        views = replicas.own_part(self.views(everything))
        # Persistent: networks are differentiated one after another, so that the collectives of
        # synchronised batch normalisation come in one order on all replicas.
        with tf.GradientTape(persistent=True) as tape:
            maps = replicas.gathered(self._maps(views))
            terms = self.loss_terms(everything, maps, targets)
            total = sum(terms.values())
            scaled = {name: optimizer.scale_loss(total) for name, optimizer in self.student_optimizers.items()}
        norms = {}
        for name, optimizer in self.student_optimizers.items():
            variables = self._variables(name)
            l2 = optimizer.scale_loss(self.settings.l2)
            gradients = tape.gradient(scaled[name], variables, unconnected_gradients="zero")
            # A map that no gradient of its network needs may otherwise be made by the weights of after the update.
            with tf.control_dependencies(tf.nest.flatten(maps)):
                gradients = [
                    gradient + replicas.own_share(l2 * tf.convert_to_tensor(variable))
                    for gradient, variable in zip(gradients, variables)
                ]
            if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                gradients = replicas.finite_everywhere(gradients)
            norms |= self._norm(name, gradients)
            optimizer.apply(gradients, variables)
        self._update_averages()
        named = {f"loss_{name}": value for name, value in terms.items()}
        return {"loss": total, **named, **self.observations(everything, maps, targets), **norms}

    def _norm(self, name: str, gradients) -> dict[str, Any]:
        """The norm of a modality's gradients, if it is to be told."""
        found = replicas.norm(gradients)
        if found is None:
            return {}
        optimizer = self.student_optimizers[name]
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # What overflows is left out and no failure.
            found = tf.where(tf.math.is_finite(found), found / optimizer.scale_loss(1.0), 0.0)
        return {f"gradient_norm_{name}": found}

    def _update_averages(self):
        """Moves each average towards its student, batch-normalisation statistics included.

        The decay is ``min(1 - 1 / (step + 1), ema_decay)`` (Tarvainen and Valpola 2017), so that the
        first steps forget the random initial weights; steps count over the run, so that a later stage goes on
        with the average that it took over.
        """
        if not self.averages:
            return
        steps = self.student_optimizers[self.modalities[0]].iterations + self.plan.first_step
        warm = 1.0 - 1.0 / (tf.cast(steps, tf.float32) + 1.0)
        decay = tf.minimum(warm, self.settings.ema_decay)
        for name, average in self.averages.items():
            replicas.move_towards(average.weights, self.students[name].weights, 1.0 - decay)
