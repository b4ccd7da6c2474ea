"""NCL: whole networks that teach each other on all and hard classes.

Li, Tan, Wan, Lei, Guo, "Nested Collaborative Learning for Long-Tailed Visual Recognition", CVPR
2022 (arXiv:2203.15359).

    CE(z_k + log n), of each of K networks                                   implemented
    the same on hard classes: the label and those with the largest logits    implemented
    lambda / (K - 1) sum_(j != k) KL(p_j || p_k), on all and on hard ones    implemented
    contrast of two views in each network: momentum encoder, queue           implemented
    second view, of the keys: cropped and distorted as in SimCLR             implemented
    test: the mean of z_k                                                    implemented
    NCL++, views of an image that teach each other                           left out

As in the authors' code the first network's logits z, without log n, choose the hard classes of all
networks; z + log n of the other classes is set to 0, so that they stay in the softmax; 1e-9 is
added to p_k in the logarithm of the divergence, and the gradient goes through both of its sides.
Their code has no contrast (`contrast: 0`) on ImageNet-LT and iNaturalist.

Where ours is not theirs: the momentum encoder includes the projection, as in MoCo (theirs averages
the backbone alone, and projects keys by random weights), and starts as a copy (theirs starts at
random). Keys of images up to 64 pixels are not blurred; theirs are, with probability 0.5. They
shuffle the keys' images over devices, which changes nothing, as their BatchNorm is synchronized;
ours are not shuffled, and each rank has BatchNorm statistics of its own. Their cosine classifiers
have a bias, ours have none. They train for 400 epochs with batches of 64 on CIFAR-100-LT: with
fewer epochs the paper's claim is not tested.
"""

from functools import partial
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier, linear
from ltbench.core.autocast import unit_rows
from ltbench.core.distributed import gather, own_rows
from ltbench.losses import adjusted_logits, collaborative_loss, hard_classes, info_nce
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.momentum import KeyQueue, MomentumCopy
from ltbench.networks.multi_expert import ExpertBackbone, ExpertClassifiers, build_networks
from ltbench.networks.projection import projection


class NCLHParams(HParams):
    """Hyper-parameters of NCL; defaults of CIFAR-100-LT."""

    networks: int = Field(3, ge=2, description="number of networks (K)")
    hard_share: float = Field(
        0.3, gt=0, le=1, description="share of the classes that are hard, at least two classes"
    )
    hard_weight: float = Field(1.0, ge=0, description="weight of cross-entropy on hard classes")
    distillation: float = Field(0.6, ge=0, description="weight of the divergence (lambda)")
    hard_distillation: float = Field(
        0.6, ge=0, description="weight of the divergence on hard classes"
    )
    contrast: float = Field(1.0, ge=0, description="weight of the contrast; 0 trains on one view")
    temperature: float = Field(0.2, gt=0, description="of the similarities")
    queue: int = Field(1024, ge=1, description="number of keys in each network's queue")
    width: int = Field(64, ge=1, description="dimension of the projections")
    momentum: float = Field(0.999, ge=0, lt=1, description="of the momentum encoders")
    classifier: Literal["linear", "cosine"] = Field("linear", description="kind of classifiers")
    scale: float = Field(
        16.0,
        gt=0,
        description="factor of the cosines",
        json_schema_extra={"only_with": {"classifier": "cosine"}},
    )


class Contrast(nn.Module):
    """Momentum contrast of one network: projection, momentum encoder, queue.

    Args:
        backbone: images -> features [B, features].
        features: number of features.
        hparams: those of NCL.
    """

    def __init__(self, backbone: nn.Module, features: int, hparams: NCLHParams) -> None:
        super().__init__()
        self.hparams = hparams
        self.projection = projection(features, hparams.width, "none")
        self.copy = MomentumCopy(backbone, self.projection)
        self.queue = KeyQueue(hparams.queue, hparams.width)

    def loss(self, features: Tensor, images: Tensor) -> Tensor:
        """Return the contrast of features [B, D] with keys; store the keys."""
        queries = unit_rows(self.projection(features))
        keys = gather(self.copy(images))  # [N, D] of the global batch
        positives = keys[own_rows(len(queries))]
        negatives = self.queue.snapshot(keys.dtype)
        loss = info_nce(queries, positives, negatives, self.hparams.temperature)
        self.queue.push(keys=keys)
        return loss


class NCL(Method):
    """Networks with balanced softmax, mutual distillation and contrast."""

    title = "NCL"
    paper = Paper(
        title="Nested Collaborative Learning for Long-Tailed Visual Recognition",
        authors="Jun Li, Zichang Tan, Jun Wan, Zhen Lei, Guodong Guo",
        venue="CVPR",
        year=2022,
        arxiv="2203.15359",
    )
    category = "ensemble"
    version = 2
    stages = (
        Stage(
            "train",
            views=("recipe", "distorted"),
            forward_passes=1,
            changes=(({"contrast": 0.0}, {"views": ("recipe",), "forward_passes": 0.0}),),
        ),
    )
    batch_dependence = "gathered"
    oracle = "ncl"
    HParams = NCLHParams
    hparams: NCLHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return networks with classifiers of their own; build their contrast."""
        hparams = self.hparams
        backbone = build_networks(spec, hparams.networks)
        kind = partial(CosineClassifier, scale=hparams.scale)
        new = linear if hparams.classifier == "linear" else kind
        classifiers = [new(backbone.width, spec.classes) for _ in backbone.experts]
        contrasted = backbone.experts if hparams.contrast else ()
        self.contrast = nn.ModuleList(
            Contrast(each, backbone.width, hparams) for each in contrasted
        )
        return Network(backbone, ExpertClassifiers(classifiers))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Copy the initial weights to the momentum encoders."""
        self.follow(momentum=0.0)

    def follow(self, momentum: float) -> None:
        """Update the momentum encoders."""
        backbones = cast("ExpertBackbone", self.network.backbone).experts
        for backbone, contrast in zip(backbones, self.contrast, strict=False):
            own = cast("Contrast", contrast)
            own.copy.follow(backbone, own.projection, momentum=momentum)

    @property
    def hard_number(self) -> int:
        """Number of hard classes, the label included."""
        return max(int(self.hparams.hard_share * self.spec.classes), 2)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses on all and on hard classes, and the contrast."""
        if not self.contrast:
            return self.expert_losses(self.network(batch.images), batch.labels)
        first, second = batch.images
        features = self.network.features(first)  # [K, B, D]
        losses = self.expert_losses(self.network.classifier(features), batch.labels)
        self.follow(self.hparams.momentum)
        contrasts = [
            cast("Contrast", contrast).loss(own, second)
            for contrast, own in zip(self.contrast, features, strict=True)
        ]
        return losses | {"contrast": self.hparams.contrast * torch.stack(contrasts).sum()}

    def expert_losses(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses of logits [K, B, C] with labels [B]."""
        return self.losses_on(logits, labels, hard_classes(logits[0], labels, self.hard_number))

    def losses_on(self, logits: Tensor, labels: Tensor, hard: Tensor) -> dict[str, Tensor]:
        """Return the losses on all and on hard classes.

        Args:
            logits: [K, B, C].
            labels: [B], int64.
            hard: [B, C] bool.
        """
        hparams, adjusted = self.hparams, adjusted_logits(logits, self.counts)
        every = collaborative_loss(adjusted, labels, hparams.distillation)
        nested = collaborative_loss(adjusted, labels, hparams.hard_distillation, hard)
        return every | {
            "hard classes": hparams.hard_weight * nested["classes"],
            "hard distillation": nested["distillation"],
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return the mean of the networks' logits [B, classes]."""
        return super().predict(images, target_prior).mean(dim=0)
