"""Methods that each break one promise, as their authors would in good faith."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ltbench.core.distributed import all_sum, global_mean, rank, world_size
from ltbench.methods.contract import Batch, EpochDraw, Loss, Method, Paper, Progress, Stage
from ltbench.networks import NetworkSpec


class Sound(Method):
    """Cross-entropy: all that is not broken below."""

    title = "Sound"
    paper = Paper("A Method", "Somebody", "NeurIPS", 2020)
    category = "cost-sensitive"

    def losses(self, batch: Batch) -> Tensor:
        return cross_entropy(self.network(batch.images), batch.labels, reduction="none")

    def training_loss(self, batch: Batch) -> Loss:
        return global_mean(self.losses(batch))


class RankDependentLoss(Sound):
    """Smooths labels by noise that each rank draws for itself."""

    def training_loss(self, batch: Batch) -> Loss:
        generator = torch.Generator().manual_seed(rank())
        noise = torch.rand(len(batch.labels), generator=generator, dtype=torch.float64)
        return global_mean(self.losses(batch) * (1 + noise))


class ForgottenState(Sound):
    """Weighs by a running mean of the loss that no checkpoint has."""

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.mean = 1.0

    def training_loss(self, batch: Batch) -> Loss:
        loss = global_mean(self.losses(batch))
        self.mean = 0.9 * self.mean + 0.1 * float(all_sum(loss)) / world_size()
        return loss / self.mean


class LostBuffer(Sound):
    """Predicts around running mean logits that the saved weights lack."""

    mean: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.register_buffer("mean", torch.zeros(spec.classes), persistent=False)

    def training_loss(self, batch: Batch) -> Loss:
        logits = self.network(batch.images)
        total = all_sum(logits.sum(0)) / (len(logits) * world_size())  # [classes]
        self.mean.lerp_(total.to(self.mean.dtype), 0.5)
        return global_mean(cross_entropy(logits, batch.labels, reduction="none"))

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        return super().predict(images, target_prior) - self.mean


class WrongMean(Sound):
    """Divides by the weights of the images that this rank happens to have."""

    def training_loss(self, batch: Batch) -> Loss:
        weights = 1 / self.counts[batch.labels]
        return (weights * self.losses(batch)).sum() / weights.sum()


class ScaledSum(Sound):
    """Adds the losses of the global batch up, alike on any number of ranks."""

    def training_loss(self, batch: Batch) -> Loss:
        return self.losses(batch).sum() * world_size()


class BatchPrediction(Sound):
    """Centers the logits of whatever images are tested together."""

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        logits = super().predict(images, target_prior)
        return logits - logits.mean(0)


class TrainingMode(Sound):
    """Predicts with a network in training mode, whose BatchNorm has the statistics of the batch."""

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        self.network.train()
        return super().predict(images, target_prior)


class PlainAttribute(Sound):
    """Computes the mean image in a first stage, and keeps it where no weights file has it."""

    stages = (Stage("mean", is_trained=False, needs_statistics_pass=True), Stage("train"))

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.mean = torch.zeros(spec.channels, 1, 1)

    def update_statistics(self, batch: Batch) -> None:
        self.mean = self.mean + batch.images.mean(dim=(0, 2, 3)).view(-1, 1, 1)

    def training_loss(self, batch: Batch) -> Loss:
        return global_mean(self.losses(Batch(batch.images - self.mean, batch.labels, batch.index)))


class UncarriedState(Sound):
    """Takes only the backbone into its second stage, and loses what it has counted."""

    stages = (Stage("train"), Stage("classifier", recipe_stage="stage2"))
    seen: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.register_buffer("seen", torch.zeros(spec.classes, dtype=torch.int64))

    def training_loss(self, batch: Batch) -> Loss:
        self.seen += all_sum(batch.labels.bincount(minlength=self.spec.classes))
        return super().training_loss(batch)

    def init_from_weights(self, weights: Mapping[str, Tensor]) -> None:
        backbone = {name: value for name, value in weights.items() if "backbone" in name}
        self.load_state_dict(backbone, strict=False)


class IndicesOfSteps(Sound):
    """Draws the images of an epoch by what its steps have counted."""

    seen: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        return {"instance": draw.sampler("instance").roll(int(self.seen), dims=1)}

    def training_loss(self, batch: Batch) -> Loss:
        self.seen += 1
        return super().training_loss(batch)


class IndicesOfStepNumbers(Sound):
    """Draws the images of an epoch from the random numbers of its steps."""

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        first = int(self.rng.shared(1) * draw.batch)
        return {"instance": draw.sampler("instance").roll(first, dims=1)}


class UnsavedStatistics(Sound):
    """Weighs classes by their mean probability before the epoch, in a buffer that is not saved."""

    stages = (Stage("train", needs_statistics_pass=True),)
    means: Tensor

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        means = torch.zeros(spec.classes, dtype=torch.float64)
        self.register_buffer("means", means, persistent=False)

    def needs_statistics_now(self) -> bool:
        return True

    def on_epoch_start(self, progress: Progress) -> None:
        self.means.zero_()

    def update_statistics(self, batch: Batch) -> None:
        p = self.network(batch.images).softmax(dim=1).double()
        self.means.index_add_(0, batch.labels, p.gather(1, batch.labels[:, None])[:, 0])

    def training_loss(self, batch: Batch) -> Loss:
        weights = 2 - self.means / self.counts
        return global_mean(weights[batch.labels] * self.losses(batch))


class NotANumber(Sound):
    """Weighs classes by the logarithm of their images, which is 0 where each has one."""

    def training_loss(self, batch: Batch) -> Loss:
        weights = self.counts.log() / self.counts.log().sum()
        return global_mean(self.losses(batch) * (1 + weights[batch.labels]))


class SinglePrecisionOnly(Sound):
    """Sums logits by class into a tensor that is never bfloat16."""

    center: nn.Parameter

    def __init__(self, spec: NetworkSpec, counts: Tensor, hparams: object = None) -> None:
        super().__init__(spec, counts, hparams)
        self.center = nn.Parameter(torch.zeros(spec.classes, spec.classes))

    def training_loss(self, batch: Batch) -> Loss:
        logits = self.network(batch.images)
        sums = self.center.index_add(0, batch.labels, logits)  # [classes, classes]
        return global_mean(cross_entropy(logits, batch.labels, reduction="none")) + 0 * sums.sum()


class UnnamedTerm(Sound):
    """Declares a metric term that its loss does not name."""

    metric_terms = ("pull",)


METHODS = {
    "sound": Sound,
    "rank_dependent_loss": RankDependentLoss,
    "forgotten_state": ForgottenState,
    "lost_buffer": LostBuffer,
    "wrong_mean": WrongMean,
    "scaled_sum": ScaledSum,
    "batch_prediction": BatchPrediction,
    "training_mode": TrainingMode,
    "plain_attribute": PlainAttribute,
    "uncarried_state": UncarriedState,
    "indices_of_steps": IndicesOfSteps,
    "indices_of_step_numbers": IndicesOfStepNumbers,
    "unsaved_statistics": UnsavedStatistics,
    "not_a_number": NotANumber,
    "single_precision_only": SinglePrecisionOnly,
    "unnamed_term": UnnamedTerm,
}
