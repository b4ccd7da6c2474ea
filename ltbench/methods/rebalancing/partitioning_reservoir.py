"""PRS, partitioning reservoir sampling: batches of a stream and its small memory.

Kim, Jeong, Kim, "Imbalanced Continual Learning with Partitioning Reservoir Sampling", ECCV 2020
(arXiv:2009.03632), section 4.

    target partition p_i = n_i^rho / sum_j n_j^rho, m_i = m p_i of m images         implemented
    sample-in: an image of class i enters with probability min(1, m_i / n_i)        implemented
    the same of several labels, weighted by softmax(-n_i)                           left out
    sample-out: a class by softmax(l_i - p_i sum_j l_j), then one of its images     implemented
    batches of the stream, with as many images of the memory                        implemented
    a sequence of tasks, each class in one of them                                  left out

n_i are the images of class i in the stream so far, l_i those in the memory. In the paper the stream
passes once, has several labels an image, and the memory keeps what is gone. Here images have one
label and come again: the stream is the training set in random order, passed anew every two epochs,
and memory and counts are carried on. So the method is a re-sampling, nearly half of whose batches
are balanced, and says nothing of online learning.

Where ours is not theirs: a batch has its size, half of it from the stream; an image that is in the
memory is not taken twice, and a random one of a class leaves, in their code the first; shares are
of the classes seen, in their code of those in the memory; the memory has at most 2,000 images as
for COCO, at most a fifth of the training set, and at least two for each class; rho is 0, theirs for
single labels (-0.03 for COCO).
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, EpochDraw, HParams, Loss, Method, NetworkSpec, Paper
from ltbench.samplers.reservoir import FREE, PartitioningReservoir


class PartitioningReservoirHParams(HParams):
    """Hyper-parameters of partitioning reservoir sampling."""

    rho: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="exponent of the classes' shares: 0 equal, 1 as in the training set",
    )
    slots: int = Field(2000, ge=1, description="largest number of images in the memory (m)")
    share: float = Field(
        0.2, gt=0, le=1, description="largest share of the training images in the memory"
    )


class PartitioningReservoirSampling(Method):
    """Cross-entropy of a stream and of a balanced memory of it."""

    title = "PRS"
    paper = Paper(
        title="Imbalanced Continual Learning with Partitioning Reservoir Sampling",
        authors="Chris Dongjoo Kim, Jinseo Jeong, Gunhee Kim",
        venue="ECCV",
        year=2020,
        arxiv="2009.03632",
    )
    category = "re-sampling"
    HParams = PartitioningReservoirHParams
    hparams: PartitioningReservoirHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the default network, beside an empty memory."""
        largest = min(self.hparams.slots, int(self.hparams.share * int(self.counts.sum())))
        slots = max(largest, 2 * spec.classes)
        self.memory: Tensor
        self.seen: Tensor
        self.register_buffer("memory", torch.full((slots,), FREE))
        self.register_buffer("seen", torch.zeros_like(self.counts))
        self.after_epoch = self.memory, self.seen
        return super().build_network(spec)

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return the stream and the memory, in turn."""
        half = draw.batch // 2
        part = draw.epoch % 2  # a pass takes two epochs
        images = replace(draw, epoch=draw.epoch // 2).sampler("instance")
        stream = images[:, part * half : (part + 1) * half]
        reservoir = PartitioningReservoir(
            draw.labels, self.memory.cpu(), self.seen.cpu(), self.hparams.rho
        )
        replayed = reservoir.replay(stream, draw.generator("reservoir"))
        self.after_epoch = reservoir.memory, reservoir.seen
        return {"replay": torch.stack([stream, replayed], dim=2).flatten(1)}

    def on_epoch_end(self) -> None:
        """Carry on memory and counts."""
        memory, seen = self.after_epoch
        self.memory.copy_(memory)
        self.seen.copy_(seen)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
