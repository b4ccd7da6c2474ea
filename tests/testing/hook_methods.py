"""Methods that use the hooks of epochs and steps, as methods of the survey will."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from ltbench.classifiers import reset_linear
from ltbench.core.distributed import global_mean
from ltbench.methods.contract import Batch, EpochDraw, Loss, Method, Paper, Progress, Stage
from ltbench.networks import NetworkSpec


class Memory(Method):
    """Half of a batch is new, half from a memory; statistics of each epoch weigh the classes.

    The memory has the images that were new in epochs before. Logits have noise.
    """

    title = "Memory"
    paper = Paper("A Method", "Somebody", "NeurIPS", 2020)
    category = "re-sampling"
    stages = (Stage("train", needs_statistics_pass=True, forward_passes=1),)
    seen: Tensor
    epoch: Tensor
    sums: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.register_buffer("seen", torch.zeros(int(counts.sum()), dtype=torch.bool))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("sums", torch.zeros(spec.classes, dtype=torch.float64))

    def on_epoch_start(self, progress: Progress) -> None:
        self.sums.zero_()

    def needs_statistics_now(self) -> bool:
        return True

    def update_statistics(self, batch: Batch) -> None:
        p = self.network(batch.images).softmax(dim=1).double()
        self.sums.index_add_(0, batch.labels, p.gather(1, batch.labels[:, None])[:, 0])

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        half = draw.batch // 2
        if int(self.epoch) < draw.epoch:  # else asked again
            before = replace(draw, epoch=draw.epoch - 1).sampler("instance")[:, :half]
            self.seen[before.flatten()] = True
            self.epoch.fill_(draw.epoch)
        seen = self.seen.cpu()
        known = seen.nonzero().flatten() if seen.any() else torch.arange(len(seen))
        picked = torch.randint(len(known), (draw.steps, half), generator=draw.generator("memory"))
        return {"new": draw.sampler("instance")[:, :half], "memory": known[picked]}

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        weights, shift = 2 - self.sums / self.counts, self.rng.shared(self.spec.classes)
        losses = {}
        for name, stream in batch.items():
            logits = self.network(stream.images)
            noise = self.rng.normal(stream.labels, self.spec.classes) + shift
            each = cross_entropy(logits + 0.1 * noise, stream.labels, reduction="none")
            losses[name] = global_mean(weights[stream.labels] * each)
        return losses


class Features(Method):
    """A new classifier on features of a frozen backbone, read from a memory that is not saved."""

    title = "Features"
    paper = Paper("A Method", "Somebody", "NeurIPS", 2020)
    category = "decoupled"
    stages = (Stage("classifier", needs_statistics_pass=True, recipe_stage="stage2", passes=0),)
    init_from = "softmax"
    features: Tensor
    seen: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        width = self.network.classifier.in_features
        features = torch.zeros(int(counts.sum()), width)
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("seen", torch.zeros(len(features)).bool(), persistent=False)

    def on_stage_start(self, stage: Stage) -> None:
        self.freeze(self.network.backbone)
        reset_linear(self.network.classifier)

    def needs_statistics_now(self) -> bool:
        return not self.seen.any()  # whenever a job starts or resumes

    def update_statistics(self, batch: Batch) -> None:
        self.features[batch.index] = self.network.features(batch.images).to(self.features.dtype)
        self.seen[batch.index] = True

    def training_loss(self, batch: Batch) -> Loss:
        logits = self.network.classifier(self.features[batch.index])
        return global_mean(cross_entropy(logits, batch.labels, reduction="none"))


class Schedules(Method):
    """Bounded class weights, whose mean over epochs predicts; a short second stage."""

    title = "Schedules"
    paper = Paper("A Method", "Somebody", "NeurIPS", 2020)
    category = "classifier design"
    stages = (Stage("train"), Stage("tune", epochs_scale=0.5, lr_scale=0.1))
    bound = 0.5
    mean: Tensor
    epochs: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.register_buffer("mean", self.network.classifier.weight.detach().clone())
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def weight_decay_scale(self, parameter: str) -> float:
        return 0.0 if parameter.endswith("bias") else 1.0

    def lr_multiplier(self) -> float:
        return 0.5 if self.progress.epoch else 1.0

    def training_loss(self, batch: Batch) -> Loss:
        losses = cross_entropy(self.network(batch.images), batch.labels, reduction="none")
        return global_mean(losses)

    def on_step_end(self) -> None:
        weight = self.network.classifier.weight
        weight.copy_(weight.renorm(2, 0, self.bound))

    def on_epoch_end(self) -> None:
        self.mean.lerp_(self.network.classifier.weight, 0.5)
        self.epochs += 1

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        features = self.network.features(images)
        return linear(features, self.mean.to(features.dtype), self.network.classifier.bias)


METHODS = {"memory": Memory, "features": Features, "schedules": Schedules}
