"""OFA: maps of tail images, fused with class-generic parts of head images.

Chu, Bian, Liu, Ling, "Feature Space Augmentation for Long-Tailed Data", ECCV 2020
(arXiv:2008.03673).

    train on all images                                                      `softmax`, stage 1
    class activation map of the label, scaled to [0, 1] in each image               implemented
    class-specific: activation > tau_s; class-generic: activation < tau_g            implemented
    confusing classes: the N_f head classes of the highest mean probability           implemented
    fused map m F_tail[specific] + (1 - m) F_head[generic], m = [u > gamma]          implemented
    N_t tail images, N_t N_a fused maps, N_t (1 + N_a) head images in a step         implemented
    fine-tuning of the last block and the classifier at a small rate                 implemented

The formulas were read in a port by others, which takes activations of Grad-CAM; the paper's own
text and code were not at hand. Maps are fused after the last block, and then pooled. The activation
at a place is the logit w_y f of its features f, without the bias; the logit of an image is the mean
of these if the backbone pools by the mean, as ResNets do, but not with FastNet's maxima. u is
uniform at each place and gamma in each map. A fused map has the tail image's label. tau_s, tau_g
and N_a are the port's, N_f is three.

Where ours is not theirs: the tail are classes with fewer than 20 images, else the smallest third;
without a tail (equal counts) the stage is plain fine-tuning. A step of batch size B has
N_t = B / (2 (1 + N_a)), so that its loss has B rows, fewer of them images. Classes of the tail, and
of the head images that are not fused, are uniform. Fine-tuning takes a fifth of stage 1's epochs at
a hundredth of its rate, along the same schedule; theirs is fixed, 1e-3 for 6,400 steps. The blocks
below the last are fixed with their BatchNorm. Backbones without pooled maps have no fused ones.
"""

from collections.abc import Mapping
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.autocast import no_autocast
from ltbench.core.checks import check_value
from ltbench.losses import cross_entropy
from ltbench.losses.counts import or_one, tail
from ltbench.methods.contract import (
    Batch,
    EpochDraw,
    HParams,
    Loss,
    Method,
    Network,
    NetworkSpec,
    Paper,
    Stage,
)
from ltbench.networks.class_statistics import ClassMeans
from ltbench.networks.parts import has_maps, parts_of
from ltbench.samplers import draw_images


def activations(maps: Tensor, weights: Tensor) -> Tensor:
    """Return class activation maps, scaled to [0, 1] in each image.

    Args:
        maps: [B, D, H, W].
        weights: [B, D], of the classifier for each image's class.

    Returns:
        [B, H, W], zeros where all places are equal.
    """
    with no_autocast(maps):
        values = torch.einsum("bd,bdhw->bhw", weights, maps)
    least, most = values.amin(dim=(1, 2), keepdim=True), values.amax(dim=(1, 2), keepdim=True)
    return (values - least) / or_one(most - least)


def fused_maps(
    tails: tuple[Tensor, Tensor],
    heads: tuple[Tensor, Tensor],
    specific: float,
    generic: float,
    mask: Tensor,
) -> Tensor:
    """Return maps of tail images, fused with those of head images.

    Args:
        tails: maps [B, D, H, W] and activations [B, H, W].
        heads: the same of head images.
        specific: activation above which a place is class-specific (tau_s).
        generic: activation below which a place is class-generic (tau_g).
        mask: [B, H, W] bool, places of the tail image (m).

    Returns:
        [B, D, H, W].
    """
    own = mask & (tails[1] > specific)
    others = ~mask & (heads[1] < generic)
    return tails[0] * own[:, None] + heads[0] * others[:, None]


class OFAHParams(HParams):
    """Hyper-parameters of OFA."""

    specific: float = Field(
        0.8, ge=0, le=1, description="activation above which a tail image's place is used (tau_s)"
    )
    generic: float = Field(
        0.2, ge=0, le=1, description="activation below which a head image's place is used (tau_g)"
    )
    confusing: int = Field(3, ge=1, description="confusing head classes of a tail class (N_f)")
    per_tail: int = Field(1, ge=1, description="fused maps of each tail image (N_a)")


class OFA(Method):
    """A trained network fine-tuned with fused maps of tail classes."""

    title = "OFA"
    paper = Paper(
        title="Feature Space Augmentation for Long-Tailed Data",
        authors="Peng Chu, Xiao Bian, Shaopeng Liu, Haibin Ling",
        venue="ECCV",
        year=2020,
        arxiv="2008.03673",
    )
    category = "transfer"
    version = 2
    stages = (
        Stage(
            "finetuning",
            needs_statistics_pass=True,
            epochs_scale=0.2,
            lr_scale=0.01,
            passes=0.038,
            forward_passes=0.712,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    batch_dependence = "gathered"
    oracle = "ofa_unofficial"
    oracle_by_others = True
    HParams = OFAHParams
    hparams: OFAHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register the confusing classes of the tail."""
        network = super().build_network(spec)
        is_tail = tail(self.counts)
        self.tails, self.heads = is_tail.nonzero().flatten(), (~is_tail).nonzero().flatten()
        self.fuses = len(self.tails) > 0 and has_maps(cast("Network", network).backbone)
        self.confusing: Tensor  # [tail classes, N_f]
        confusing = min(self.hparams.confusing, len(self.heads))
        self.register_buffer("confusing", self.heads[:confusing].repeat(len(self.tails), 1))
        return network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze all but the last block and the classifier."""
        for module in parts_of(self.network.backbone).below(last=1):
            self.freeze(module)
        self.confusion = ClassMeans(len(self.tails))

    def update_statistics(self, batch: Batch) -> None:
        """Add the probabilities of head classes of tail images."""
        probabilities = self.network(batch.images).double().softmax(dim=1)
        of_tail = torch.full_like(self.counts, -1)
        tails, heads = (each.to(of_tail.device) for each in (self.tails, self.heads))
        labels = of_tail.scatter(0, tails, torch.arange(len(tails), device=tails.device))
        labels = labels[batch.labels]
        kept = labels >= 0
        self.confusion.add(probabilities[kept][:, heads], labels[kept])

    def finalize_statistics(self) -> None:
        """Keep the confusing classes of each tail class."""
        if len(self.tails) > 0:
            highest = self.confusion.means().topk(self.confusing.shape[1], dim=1).indices
            self.confusing.copy_(self.heads.to(highest.device)[highest])

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return groups of tail, confusing and head images.

        A group has a tail image, images of confusing classes, and a head image.
        """
        if not self.fuses:
            return super().epoch_indices(draw)
        per_tail, generator = self.hparams.per_tail, draw.generator("groups")
        groups = draw.batch // (2 * (1 + per_tail))
        check_value("batch_size", draw.batch, f"at least {2 + 2 * per_tail}", holds=groups > 0)
        shape = draw.steps, groups

        def uniform(*more: int) -> Tensor:
            return torch.rand(*shape, *more, dtype=torch.float64, generator=generator)

        rows = (uniform() * len(self.tails)).long()
        confusing = self.confusing.cpu()[rows]  # [steps, groups, N_f]
        order = uniform(confusing.shape[2]).argsort(dim=2)
        order = order[..., torch.arange(per_tail) % confusing.shape[2]]
        others = self.heads[(uniform() * len(self.heads)).long()]
        parts = [self.tails[rows][..., None], confusing.gather(2, order), others[..., None]]
        classes = torch.cat(parts, dim=2)
        images = draw_images(draw.labels, classes, uniform(classes.shape[2]))
        return {"groups": images.flatten(1)}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy of images and of fused maps."""
        if not self.fuses:
            return cross_entropy(self.network(batch.images), batch.labels)
        parts = parts_of(self.network.backbone)
        maps = parts.maps(batch.images)
        fused, labels = self.fused(maps, batch.labels)
        logits = self.network.classifier(parts.pool(torch.cat([maps, fused])))
        return cross_entropy(logits, torch.cat([batch.labels, labels]))

    def fused(self, maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return fused maps [N_t N_a, D, H, W] and their labels.

        Args:
            maps: [B, D, H, W], of a tail image, N_a of confusing classes and another, in turn.
            labels: [B].

        Raises:
            ValueError: if the rows are no whole groups.
        """
        hparams, size = self.hparams, 2 + self.hparams.per_tail
        whole = len(labels) % size == 0
        check_value("rows", len(labels), f"groups of {size} on each rank: fewer ranks", holds=whole)
        weight = cast("nn.Linear", self.network.classifier).weight
        found = activations(maps.detach().to(weight.dtype), weight.detach()[labels])

        def pairs(values: Tensor) -> tuple[Tensor, Tensor]:
            rows = values.view(-1, size, *values.shape[1:])
            first, confusing = rows[:, :1].expand_as(rows[:, 1:-1]), rows[:, 1:-1]
            return first.flatten(0, 1), confusing.flatten(0, 1)

        (tails, heads), (own, others), (labels, _) = pairs(maps), pairs(found), pairs(labels)
        places = self.rng.uniform(labels, *found.shape[1:])
        gamma = self.rng.uniform(labels)[:, None, None]
        mask = places > gamma
        return fused_maps(
            (tails, own), (heads, others), hparams.specific, hparams.generic, mask
        ), labels
