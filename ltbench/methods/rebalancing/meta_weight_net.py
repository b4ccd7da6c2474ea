"""Meta-Weight-Net: a small network from losses to weights, learned on balanced images.

Shu, Xie, Yi, Zhao, Zhou, Xu, Meng, "Meta-Weight-Net: Learning an Explicit Mapping For Sample
Weighting", NeurIPS 2019 (arXiv:1902.07379), algorithm 1.

    V(l; Theta): 1 - 100 - 1, ReLU, sigmoid, of the loss                              implemented
    virtual step: w' = w - alpha grad_w 1/n sum_i V(l_i(w); Theta) l_i(w)             implemented
    Theta by the cross-entropy of meta images under w', through the step              implemented
    real step on 1/n sum_i V(l_i; Theta) l_i with the new Theta, weights constant     implemented
    several inputs                                                                    left out

The authors have two programs. That for class imbalance, the default, divides the weights of a batch
by their sum, lets the gradient of the virtual step pass through the losses that V reads, and moves
Theta by SGD with a rate of 1e-5 and decay of 5e-4. That for noisy labels (`form: noise`) does
neither and takes Adam, with 1e-3 and 1e-4; without the division weights below 1 make steps smaller.
The numbers of the authors' code that it is checked against are of that one.
In both alpha is the rate of the real step, meta images are augmented as training images are, and
the virtual step is one of plain gradient descent, without momentum and weight decay; what it does
to BatchNorm's running statistics is discarded.

Where ours is not theirs: their meta images, ten of each class, lie outside of the long-tailed
training set. By default ours are held out of it, at most half of a class, so that small classes
lose up to half of their training images: compare with softmax less the held-out images, or set the
dataset's `auxiliary` to `unused_pool`. Meta batches have the size of training batches and equally
many images of each class; theirs are shuffled. Rates and epochs are those of the recipe.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from ltbench.core.autocast import no_autocast
from ltbench.core.distributed import global_mean
from ltbench.core.inner import InnerOptimizer, Learned, functional, rank_mean, virtual_step
from ltbench.losses import cross_entropy
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import NetworkSpec


class MetaWeightNetHParams(HParams):
    """Hyper-parameters of Meta-Weight-Net."""

    width: int = Field(100, ge=1, description="hidden units of the weighting network")
    form: Literal["imbalance", "noise"] = Field(
        "imbalance", description="the authors' program: for class imbalance or noisy labels"
    )
    lr: float = Field(1e-5, gt=0, description="learning rate of the weighting network")
    weight_decay: float = Field(5e-4, ge=0, description="weight decay of the weighting network")


class MetaWeightNet(Method):
    """Cross-entropy with weights by image that a network of the losses gives."""

    title = "Meta-Weight-Net"
    paper = Paper(
        title="Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting",
        authors="Jun Shu, Qi Xie, Lixuan Yi, Qian Zhao, Sanping Zhou, Zongben Xu, Deyu Meng",
        venue="NeurIPS",
        year=2019,
        arxiv="1902.07379",
    )
    category = "cost-sensitive"
    version = 2
    stages = (Stage("train", has_auxiliary_stream=True, forward_passes=10),)
    can_compile = False
    batch_dependence = "gathered"
    oracle = "meta_weight_net"
    HParams = MetaWeightNetHParams
    hparams: MetaWeightNetHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; build that of the weights, too."""
        network, hparams = super().build_network(spec), self.hparams
        layers = nn.Linear(1, hparams.width), nn.ReLU(), nn.Linear(hparams.width, 1), nn.Sigmoid()
        optimizer: InnerOptimizer = "sgd" if hparams.form == "imbalance" else "adam"
        module = nn.Sequential(*layers)
        self.weighting = Learned(module, hparams.lr, hparams.weight_decay, optimizer)
        return network

    def training_loss(self, batch: Mapping[str, Batch]) -> Loss:
        """Return the weighted cross-entropy, after a meta step of the weights."""
        training = batch["instance"]
        self.learn_weights(training, batch["auxiliary"])
        losses = cross_entropies(self.network(training.images), training.labels)
        return self.weighted_mean(losses, self.weights(losses.detach(), {}))

    @torch.enable_grad()
    def learn_weights(self, training: Batch, meta: Batch) -> Tensor:
        """Move the weighting network by a meta step; return its loss.

        Args:
            training: of which the virtual step is taken.
            meta: balanced, which judge it.
        """
        parameters, forward = functional(self.network)
        variables = self.weighting.variables()

        losses = cross_entropies(forward(parameters, training.images), training.labels)
        inputs = losses if self.hparams.form == "imbalance" else losses.detach()
        weighted = self.weighted_mean(losses, self.weights(inputs, variables))
        moved = virtual_step(weighted, parameters, self.progress.lr_of)

        loss = cross_entropy(forward(moved, meta.images), meta.labels)
        self.weighting.step(loss, variables)
        return loss

    def weights(self, losses: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the weights of images.

        Args:
            losses: [B].
            parameters: of the weighting network; its own where they have no name.

        Returns:
            [B], in (0, 1).
        """
        with no_autocast(losses):
            module, column = self.weighting.module, losses[:, None]
            weights: Tensor = functional_call(module, dict(parameters), (column,))
        return weights[:, 0]

    def weighted_mean(self, losses: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted loss of the global batch.

        Args:
            losses: [B].
            weights: [B]; divided by their mean over the global batch, for class imbalance.
        """
        total = global_mean(losses * weights)
        if self.hparams.form == "noise":
            return total
        return total / rank_mean(global_mean(weights))
