"""The interface of a training method: a Keras model whose `train_step` updates one student per modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods import deep_supervision, replicas
from semicml_tf.methods.adam import Adam
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.presence import pixels_of, slices_with
from semicml_tf.methods.schedule import LearningRate, StagePlan

if TYPE_CHECKING:
    from semicml_tf.methods.fitted_fusion import FittedFusion

# Builds the network of a modality: (modality) -> keras.Model.
NetworkFactory = Callable[[str], keras.Model]
# By modality, the probability from which a pixel belongs to a region; a number, or one for each of several regions.
Thresholds = Mapping[str, float | Sequence[float]]


class Method(keras.Model):
    """A student per modality, and the step that updates them. Subclasses override `loss_terms`, and hooks where needed.

    A batch is ``{"labelled": stream, "unlabelled": stream}``, as `input.semi_supervised_batches.batches` yields it.
    Patients may lack modalities; see `presence`.

    Args:
        modalities: names of the modalities, in the dataset's order.
        build: builds the network of a modality.
        settings: the options of the method.
        plan: the stage's steps and their position in the run.
        scores: best mean validation Dice of each modality so far. It is empty in the first stage of a run.
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
        # Variables, so that the compiled step reads the thresholds of the last validation.
        self.spec = self.students[self.modalities[0]].spec
        classes = self.spec.output_channels
        # Names of the classes in logged columns.
        self.class_names = tuple(f"class{number}" for number in range(1, classes + 1))
        self.thresholds = {
            # A number for one region, a vector for several; exclusive classes have no thresholds.
            name: keras.Variable(
                0.5 if classes == 1 else np.full(classes, 0.5),
                trainable=False,
                dtype="float32",
                name=f"threshold_{name}",
            )
            for name in (() if self.spec.exclusive else modalities)
        }
        self.companions = self.make_companions(build)
        # The heads of coarser scales learn with their student, and are not deployed.
        deep = modalities if settings.deep_supervision else ()
        self.deep = {name: deep_supervision.heads(self.students[name]) for name in deep}
        self.trained = self.students | {
            name: deep_supervision.with_heads(self.students[name], heads) for name, heads in self.deep.items()
        }
        self.student_optimizers = {name: self._optimizer(self.students[name]) for name in modalities}
        for name, optimizer in self.student_optimizers.items():
            optimizer.build(self._variables(name))
        self.built = True

    def _optimizer(self, student: keras.Model) -> keras.optimizers.Optimizer:
        rate = LearningRate(self.settings, self.plan)
        plain = keras.optimizers.SGD(rate) if self.settings.optimizer == "sgd" else Adam(rate)
        # Small gradients vanish in float16. The loss is therefore scaled up, and a step that overflows is skipped.
        half = any(layer.compute_dtype == "float16" for layer in student.layers)
        return keras.optimizers.LossScaleOptimizer(plain) if half else plain

    # Hooks that a method may override.

    # Views that do not update the moving statistics of batch normalisation, if each view has its own batch statistics.
    # They have distorted slices, which do not occur in prediction.
    passing_views: tuple[str, ...] = ()

    def make_companions(self, build: NetworkFactory) -> dict[str, dict[str, keras.Model]]:
        """Further trained networks, by kind and modality. The optimiser of their modality updates them, too."""
        return {}

    def views(self, batch) -> dict[str, Any]:
        """The inputs of the networks in a step, by name. Each has ``image`` by modality and ``seed``, like a stream.

        Args:
            batch: the global batch. Its views are split over the replicas in the same way as the batch.
        """
        return batch

    def maps_of(self, name: str, images, seeds) -> dict[str, Any]:
        """Probability maps of a modality's networks in training mode. The student's map has the modality's name.

        Args:
            name: the modality.
            images: (batch, *space, channels).
            seeds: (batch,) int32.

        Returns:
            Maps by name, each (batch, *space, classes).
        """
        outputs = self.trained[name](images, training=True)
        return deep_supervision.named(name, outputs) if self.deep else {name: outputs}

    def loss_terms(self, batch, maps, targets) -> dict[str, Any]:
        """The weighted terms of the loss. The step minimises their sum.

        Args:
            batch: the global batch.
            maps: the networks' predictions, ``{view: {name of `maps_of`: (batch, *space, classes)}}``.
            targets: the result of `targets`, gathered from all replicas.

        Returns:
            Scalars by name. All inputs are global. Means and sums are therefore over the global batch.
        """
        return {"supervised": self.supervised_term(batch, maps)}

    def observations(self, batch, maps, targets) -> dict[str, Any]:
        """Scalars that are logged and do not enter the loss. The arguments are those of `loss_terms`."""
        return {}

    def targets(self, batch) -> dict[str, Any]:
        """Target maps of the unlabelled slices, computed without gradients: (batch, *space, classes) by name."""
        return {}

    def networks(self) -> dict[str, keras.Model]:
        """All networks by key. A checkpoint stores them, and the next stage may take them over."""
        kinds = {"student": self.students, "average": self.averages, **self.companions}
        kinds |= {deep_supervision.DEEP: self.deep} if self.deep else {}
        return {f"{kind}/{name}": network for kind, networks in kinds.items() for name, network in networks.items()}

    def start_from(self, network_of: Callable[[str], keras.Model], thresholds: Thresholds) -> None:
        """Takes over another run's best networks and their thresholds, by modality.

        The companions keep their initial weights, because the other run has no companions.
        """
        self._set_thresholds(thresholds)
        for key, network in self.networks().items():
            kind, name = key.split("/")
            if kind not in (*self.companions, deep_supervision.DEEP):
                network.set_weights(network_of(name).get_weights())

    def take_encoders(self, networks: Mapping[str, keras.Model]) -> None:
        """Takes over the encoders of another run's networks, by modality. Companions keep their initial weights.

        Raises:
            ValueError: an encoder has other layers.
        """
        for key, network in self.networks().items():
            kind, name = key.split("/")
            if kind not in (*self.companions, deep_supervision.DEEP) and name in networks:
                network.take_encoder(networks[name])

    def begin(self) -> None:
        """Called once, after the previous stage's networks are taken over and before the first step."""

    def on_validated(self, epoch: int, dice: Mapping[str, float], thresholds: Thresholds) -> None:
        """Called after each validation.

        Args:
            epoch: number of the epoch in the run.
            dice: mean Dice of the `deployed` network of each modality.
            thresholds: threshold on the probabilities that gives this Dice, by modality.
        """
        self._set_thresholds(thresholds)

    def _set_thresholds(self, thresholds: Thresholds) -> None:
        for name, variable in self.thresholds.items():
            variable.assign(np.reshape(thresholds[name], variable.shape))

    # Fitted to the maps of the `deployed` networks after each validation, and once before a stage's first step.
    fusion: FittedFusion | None = None

    def facts(self) -> dict[str, Any]:
        """Further columns of the run's history, which describe this stage."""
        return {}

    def alarms(self, means: Mapping[str, float]) -> list[str]:
        """Problems of an epoch, one line each with a remedy. `means` are the epoch's means of the step's scalars."""
        return []

    @property
    def silence_remedy(self) -> str:
        """The remedy if a network continues to predict no foreground."""
        return "train for more --epochs, or lower --learning_rate"

    def label_writers(self) -> dict[str, keras.Model]:
        """Teachers that write pseudo-labels, by modality. A run saves them as they are at the stage's beginning."""
        return {}

    def state(self) -> dict[str, Any]:
        """JSON values that a checkpoint stores beside networks and optimisers."""
        values = {name: ops.convert_to_numpy(value).tolist() for name, value in self.thresholds.items()}
        return {"thresholds": values}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Restores the values of `state`, of a checkpoint or of the previous stage."""
        self._set_thresholds(state["thresholds"])

    # The same for all methods.

    @property
    def deployed(self) -> dict[str, keras.Model]:
        """The network of each modality that is validated, saved and exported."""
        return self.averages or self.students

    def progress(self):
        """Completed fraction of the stage, a scalar in [0, 1)."""
        steps = self.student_optimizers[self.modalities[0]].iterations
        return ops.cast(steps, "float32") / self.plan.steps

    def _variables(self, name: str):
        """The variables that a modality's optimiser updates."""
        others = (*self.companions.values(), *([self.deep] if self.deep else []))
        networks = [self.students[name], *(networks[name] for networks in others)]
        return [variable for network in networks for variable in network.trainable_variables]

    def supervised_term(self, batch, maps):
        """The supervised loss on the labelled stream, summed over all trained networks of all modalities."""
        of_maps = [(key, p) for key, p in maps["labelled"].items() if not key.startswith(f"{deep_supervision.DEEP}/")]
        return sum(self.labelled_loss(p, batch["labelled"], key.split("/")[0]) for key, p in of_maps)

    def _deep_terms(self, batch, maps, terms):
        """The terms, of which the supervised one is that of all scales; see `deep_supervision`."""
        if not self.deep or "supervised" not in terms:
            return terms
        losses = [terms["supervised"]]
        for number, output in enumerate(self.deep[self.modalities[0]].outputs):
            space = output.shape[1:-1]
            stream = deep_supervision.coarse_stream(batch["labelled"], space, exclusive=self.spec.exclusive)
            of_scale = [maps["labelled"][f"{deep_supervision.DEEP}/{name}/{number}"] for name in self.modalities]
            losses.append(sum(self.labelled_loss(p, stream, name) for name, p in zip(self.modalities, of_scale)))
        return terms | {"supervised": deep_supervision.weighted(losses)}

    def labelled_loss(self, p, stream, name: str):
        """The supervised loss of a modality's maps (batch, *space, classes) against a stream's ``label``.

        Only annotated pixels of slices that have the modality count.
        """
        slices = slices_with(stream.get("present"), name)
        return self.segmentation_loss(p, stream["label"], valid=pixels_of(slices, p, stream.get("valid")))

    def segmentation_loss(self, p, y, *, valid=None):
        """`losses.supervised.segmentation_loss` with the weights of the settings and the kind of the classes."""
        weights = {"bce_weight": self.settings.bce_weight, "dice_weight": self.settings.dice_weight}
        return segmentation_loss(p, y, **weights, exclusive=self.spec.exclusive, valid=valid)

    def _maps(self, views):
        """Maps of all networks on the views: one call per network, or one call per view; see `batch_statistics`."""
        maps: dict[str, dict[str, Any]] = {view: {} for view in views}
        calls = [list(views)] if self.settings.batch_statistics == "joint" else [[view] for view in views]
        for name in self.modalities:
            for called in calls:
                parts = [views[view]["image"][name] for view in called]
                seeds = tf.concat([views[view]["seed"] for view in called], axis=0)
                kept = self._statistics(name) if set(called) <= set(self.passing_views) else {}
                # The statistics are read before the call updates them.
                with tf.control_dependencies(list(kept.values())):
                    outputs = self.maps_of(name, tf.concat(parts, axis=0), seeds)
                for index, value in kept.items():
                    self.students[name].non_trainable_variables[index].assign(value)
                for key, joint in outputs.items():
                    for view, part in zip(called, tf.split(joint, [tf.shape(part)[0] for part in parts], axis=0)):
                        maps[view][key] = part
        return maps

    def _statistics(self, name: str):
        """The current moving statistics of a student's batch normalisation, by the index of the variable."""
        variables = enumerate(self.students[name].non_trainable_variables)
        return {index: tf.identity(tf.convert_to_tensor(v)) for index, v in variables if v.dtype.startswith("float")}

    def train_step(self, batch):
        """One update of all trained networks.

        Returns:
            Scalars: ``loss``; its terms ``loss_TERM``; the observations; and ``gradient_norm_MODALITY``, the Euclidean
            norm of the gradients that the modality's optimiser receives, where `replicas.norm` gives it.
        """
        targets = tf.nest.map_structure(tf.stop_gradient, self.targets(batch))
        targets = replicas.gathered({"targets": targets})["targets"]
        everything = replicas.gathered(batch)
        views = replicas.own_part(self.views(everything))
        # The tape is persistent, because the networks are differentiated one after another. All replicas then run the
        # collectives of synchronised batch normalisation in the same order.
        with tf.GradientTape(persistent=True) as tape:
            maps = replicas.gathered(self._maps(views))
            terms = self._deep_terms(everything, maps, self.loss_terms(everything, maps, targets))
            total = sum(terms.values())
            scaled = {name: optimizer.scale_loss(total) for name, optimizer in self.student_optimizers.items()}
        norms = {}
        for name, optimizer in self.student_optimizers.items():
            variables = self._variables(name)
            l2 = optimizer.scale_loss(self.settings.l2)
            gradients = tape.gradient(scaled[name], variables, unconnected_gradients="zero")
            # Otherwise, a map that no gradient needs could be computed with the updated weights.
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
        """The norm of a modality's gradients, if `replicas.norm` gives it."""
        norm = replicas.norm(gradients)
        if norm is None:
            return {}
        optimizer = self.student_optimizers[name]
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # A step that overflows is skipped. This is no failure.
            norm = tf.where(tf.math.is_finite(norm), norm / optimizer.scale_loss(1.0), 0.0)
        return {f"gradient_norm_{name}": norm}

    def _update_averages(self):
        """Updates the EMA of each student, including the batch-normalisation statistics.

        The decay is ``min(1 - 1 / (step + 1), ema_decay)`` (Tarvainen and Valpola 2017). The first steps thus forget
        the random initial weights. Steps count over the run, and a later stage continues the average of its
        predecessor.
        """
        if not self.averages:
            return
        steps = self.student_optimizers[self.modalities[0]].iterations + self.plan.first_step
        warm = 1.0 - 1.0 / (tf.cast(steps, tf.float32) + 1.0)
        decay = tf.minimum(warm, self.settings.ema_decay)
        for name, average in self.averages.items():
            replicas.move_towards(average.weights, self.students[name].weights, 1.0 - decay)
