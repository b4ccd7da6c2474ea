"""MetaModelNet: a network that moves classifier rows from few to many images.

It learns from large classes.

Wang, Ramanan, Hebert, "Learning to Model the Tail", NeurIPS 2017.

    theta*: rows of a linear softmax of all images' features, the network frozen     implemented
    theta^k: rows of one of k images of each class, many draws, k = 1, 2, 4, ...      implemented
    F_i(theta) = F_i+1(theta + f_i(theta)), a residual block for each k = 2^i        implemented
    f: BN, LeakyReLU, linear, BN, LeakyReLU, linear, shared by all classes           implemented
    ||F(theta^k) - theta*||^2 + lambda CE of images under F(theta^k), of classes
        with more than 2 k images                                                    implemented
    from the last block to the first, later blocks are trained on                    implemented
    a class of n images enters block floor(log2 n), large classes keep theta*        implemented
    training of the features by the loss                                             left out

The formulas were read in notes on the paper. It is published without an arXiv number.

What the notes do not say is ours: rows are of bias-free softmaxes with all classes, a class with
fewer than k images has all of its own, of features of mean squared length 1, by a fixed number of
accelerated gradient steps with weight decay; 20 draws for each k, theirs are 1,000 to 200. The
decay is small because features are short: what a recipe's 5e-4 is to a classifier of features of
length 12, as those of CIFAR-10 here, is 3e-6 to rows of features of length 1. With 0.001 theta*
itself lost the small classes. A smaller decay takes more steps. A class enters with the mean of its
rows, all divided by the mean length of theta*. The last linear layer of a block begins with zeros,
so that the chain begins as the identity. The cross-entropy is that of theta* with one row replaced,
on images of the block's large classes. There are at most seven blocks (64 images, as in the paper),
and at most so many that half of the classes with more than 100 images (else of the largest third)
keep theta*.

All is computed after one pass over the training images, whose features are held in memory. Work and
memory are bounded: with many classes or features there are fewer draws, down to one, and a block
has at most 1,000 steps, on CIFAR-100-LT 26 epochs of the first. The paper trains with hundreds of
large classes. (Of rows that are half as long with few images, blocks learn nothing with 12 large
classes, and most with 90.)
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.autocast import no_autocast
from ltbench.core.distributed import all_sum, world_size
from ltbench.losses.counts import or_one
from ltbench.methods.contract import Batch, HParams, Method, Network, Paper, Stage

MANY = 100
"""Training images above which a class is large."""

MOST_BLOCKS = 7

ROWS = 256
"""Rows of the classifier in a step of a block."""

IMAGES = 64
"""Images of a step's cross-entropy."""

MOST_NUMBERS = 2**26
"""Numbers of a tensor above which it is computed in parts."""

MOST_WORK = 2**46
"""Multiplications above which there are fewer draws, or fewer steps of the blocks."""

Beat = Callable[[], object]


def number_of_blocks(counts: Tensor) -> int:
    """Return the length of the chain.

    It is 0 if all classes have too few images.

    Args:
        counts: [C], training images per class.
    """
    many = counts[counts > MANY]
    if len(many) == 0:
        many = counts.sort(descending=True).values[: max(len(counts) // 3, 1)]
    return min(int(many.median()).bit_length() - 1, MOST_BLOCKS)


def entry_blocks(counts: Tensor) -> Tensor:
    """Return floor(log2 n) of counts [C], the block that a class enters."""
    return torch.frexp(counts.double()).exponent.long() - 1


def few_images(labels: Tensor, draws: int, most: int, generator: torch.Generator) -> Tensor:
    """Draw images, at most so many of each class.

    Args:
        labels: [N] class of each image, on the CPU.
        draws: number of draws.
        most: images of a class, without replacement; smaller classes have all of theirs.
        generator: on the CPU.

    Returns:
        [draws, n] int64 positions, ordered by class.
    """
    random = torch.rand(draws, len(labels), dtype=torch.float64, generator=generator)
    order = (labels + random).argsort(dim=1)  # by class, within a class at random
    counts = torch.bincount(labels)
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return order[:, place < most]


@torch.no_grad()
def fitted_rows(
    features: Tensor, labels: Tensor, classes: int, steps: int, decay: float, beat: Beat
) -> Tensor:
    """Return the rows of linear softmaxes, fitted by accelerated gradient steps.

    Rows begin at zero. The steps are as long as the curvature of the loss allows, whatever the
    features.

    Args:
        features: [S, n, D], of S sets of images.
        labels: [S, n].
        classes: C.
        steps: number of steps.
        decay: factor of half the squared rows in the loss.
        beat: called after each step.

    Returns:
        [S, C, D].
    """
    sets, images, width = features.shape
    curvature = torch.linalg.vector_norm(features, dim=2).square().mean(dim=1) / 2 + decay
    curvature = curvature[:, None, None]
    momentum = (curvature.sqrt() - decay**0.5) / (curvature.sqrt() + decay**0.5)
    rows = features.new_zeros(sets, classes, width)
    ahead, part = rows, max(MOST_NUMBERS // (sets * max(classes, width)), 1)
    for _ in range(steps):
        gradient = decay * ahead
        for first in range(0, images, part):
            some, theirs = features[:, first : first + part], labels[:, first : first + part]
            errors = (some @ ahead.mT).softmax(dim=2)
            errors.scatter_add_(2, theirs[..., None], errors.new_full((*theirs.shape, 1), -1))
            gradient = gradient + errors.mT @ some / images
        moved = ahead - gradient / curvature
        ahead, rows = moved + momentum * (moved - rows), moved
        beat()
    return rows


class Chain(nn.Module):
    """Residual blocks that move rows of a classifier; at first the identity.

    Args:
        width: D.
        blocks: number of blocks.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(width) for _ in range(blocks))

    def forward(self, *rows: Tensor) -> Tensor:
        """Return moved rows, in the order of the arguments.

        Args:
            rows: [R, D] for each of the last blocks, which they enter.
        """
        moved = rows[0][:0]
        for entering, block in zip(rows, self.blocks[len(self.blocks) - len(rows) :], strict=True):
            moved = torch.cat([moved, entering])
            if len(moved) > 0:
                moved = moved + block(moved)
        return moved


def _block(width: int) -> nn.Module:
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    parts = nn.BatchNorm1d(width), nn.LeakyReLU(0.01), nn.Linear(width, width)
    return nn.Sequential(*parts, nn.BatchNorm1d(width), nn.LeakyReLU(0.01), last)


def drawn_rows(
    shots: Tensor, heads: Sequence[Tensor], number: int, generator: torch.Generator
) -> tuple[list[Tensor], Tensor]:
    """Draw rows of few images that enter each block.

    Args:
        shots: [blocks, draws, C, D].
        heads: large classes of each block, [K] int64; none of the last blocks.
        number: of rows of a block, R.
        generator: on the CPU.

    Returns:
        Rows [R, D] of each block with large classes, and the classes of all of them.
    """
    rows, classes = [], []
    for few, large in zip(shots, heads, strict=False):
        uniform = torch.rand(2, number, dtype=torch.float64, generator=generator)
        uniform = uniform.to(large.device)
        picked = large[(uniform[0] * len(large)).long()]
        rows.append(few[(uniform[1] * len(few)).long(), picked])
        classes.append(picked)
    return rows, torch.cat(classes)


def replaced_row_loss(
    rows: Tensor, classes: Tensor, features: Tensor, labels: Tensor, weight: Tensor
) -> Tensor:
    """Return the mean cross-entropy of classifiers with a row replaced.

    Args:
        rows: [R, D], each in a classifier of its own.
        classes: [R], whose rows they replace.
        features: [M, D].
        labels: [M].
        weight: [C, D], the other rows.
    """
    logits = (features @ weight.T).expand(len(rows), -1, -1)  # [R, M, C]
    index = classes[:, None, None].expand(-1, len(features), 1)
    logits = logits.scatter(2, index, (rows @ features.T)[..., None])
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(rows)))


class MetaModelNetHParams(HParams):
    """Hyper-parameters of MetaModelNet."""

    draws: int = Field(20, ge=1, description="few-shot classifiers for each number of images")
    fit_steps: int = Field(1000, ge=1, description="gradient steps of a classifier")
    fit_decay: float = Field(1e-5, gt=0, description="weight decay of a classifier")
    weight: float = Field(0.1, ge=0, description="of the cross-entropy (lambda)")
    lr: float = Field(0.001, gt=0, description="Adam's learning rate of the blocks")
    epochs: int = Field(200, ge=1, description="epochs of a block over its pairs of rows")
    most_steps: int = Field(1000, ge=1, description="steps of a block at most")


class MetaModelNet(Method):
    """A linear classifier whose small classes are moved by a network."""

    title = "MetaModelNet"
    paper = Paper(
        title="Learning to Model the Tail",
        authors="Yu-Xiong Wang, Deva Ramanan, Martial Hebert",
        venue="NeurIPS",
        year=2017,
    )
    category = "transfer"
    version = 2
    stages = (Stage("classifier", is_trained=False, needs_statistics_pass=True),)
    init_from = "softmax"
    HParams = MetaModelNetHParams
    hparams: MetaModelNetHParams
    network: Network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Begin a pass; draw the seed of the random numbers after it."""
        self.seed = int(torch.randint(2**62, ()))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def update_statistics(self, batch: Batch) -> None:
        """Keep the features of images."""
        self.seen.append((self.network.features(batch.images), batch.labels))

    def finalize_statistics(self) -> None:
        """Set the classifier."""
        classifier = cast("nn.Linear", self.network.classifier)
        weight = classifier.weight
        with torch.inference_mode(mode=False), no_autocast(weight):
            features = torch.cat([each for each, _ in self.seen]).to(weight.dtype)
            labels = torch.cat([each for _, each in self.seen])
            self.seen = []
            scale = or_one(features.square().sum(dim=1).mean().sqrt())
            rows = self.rows(features / scale, labels) / scale
        weight.copy_(all_sum(rows) / world_size())
        classifier.bias.zero_()

    def rows(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the rows [C, D] of the classifier.

        Args:
            features: [N, D], of mean squared length 1.
            labels: [N].
        """
        counts = self.counts
        whole = self.fitted(features[None], labels[None])[0]
        blocks = number_of_blocks(counts.cpu())
        entry = entry_blocks(counts)
        if blocks == 0 or bool((entry >= blocks).all()):
            return whole
        generator = torch.Generator().manual_seed(self.seed)
        shots = self.few_shot_rows(features, labels, blocks, generator)
        length = or_one(torch.linalg.vector_norm(whole, dim=1).mean())
        chain = self.trained_chain(
            shots / length, whole / length, length, features, labels, generator
        )
        with torch.no_grad():
            means = shots.mean(dim=1) / length  # [blocks, C, D]
            entering = [mean[entry == block] for block, mean in enumerate(means)]
            order = torch.cat([(entry == block).nonzero().flatten() for block in range(blocks)])
            return whole.index_copy(0, order, chain(*entering) * length)

    def fitted(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the fitted rows [S, C, D] of features [S, n, D]."""
        steps, decay = self.hparams.fit_steps, self.hparams.fit_decay
        return fitted_rows(features, labels, len(self.counts), steps, decay, self.beat)

    def few_shot_rows(
        self, features: Tensor, labels: Tensor, blocks: int, generator: torch.Generator
    ) -> Tensor:
        """Return the rows [blocks, draws, C, D] of few-shot classifiers."""
        hparams, classes, width = self.hparams, len(self.counts), features.shape[1]
        host = labels.cpu()
        images = sum(few_images(host, 1, 2**block, generator).shape[1] for block in range(blocks))
        work = 2 * images * classes * width * hparams.fit_steps
        most = min(MOST_WORK // work, 4 * MOST_NUMBERS // (blocks * classes * width))
        draws = max(min(hparams.draws, most), 1)
        found = []
        for block in range(blocks):
            index = few_images(host, draws, 2**block, generator).to(labels.device)
            part = max(MOST_NUMBERS // (index.shape[1] * max(classes, width)), 1)
            fits = [self.fitted(features[some], labels[some]) for some in torch.split(index, part)]
            found.append(torch.cat(fits))
        return torch.stack(found)

    def trained_chain(
        self,
        shots: Tensor,
        whole: Tensor,
        length: Tensor,
        features: Tensor,
        labels: Tensor,
        generator: torch.Generator,
    ) -> Chain:
        """Return a chain trained from its last block to its first.

        It is in evaluation mode.

        Args:
            shots: [blocks, draws, C, D], divided by the length.
            whole: [C, D], rows of all images, divided by the length.
            length: of the rows.
            features: [N, D].
            labels: [N].
            generator: on the CPU.
        """
        blocks, draws, classes, width = shots.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            chain = Chain(width, blocks).to(whole)
        hparams, counts = self.hparams, self.counts
        work = 3 * ROWS * 2 * width * width * blocks * blocks
        most = max(min(hparams.most_steps, MOST_WORK // work), 1)
        for first in reversed(range(blocks)):
            heads = [(counts > 2 ** (k + 1)).nonzero().flatten() for k in range(first, blocks)]
            heads = [each for each in heads if len(each) > 0]  # those of the last blocks are empty
            if not heads:
                continue
            images = (counts[labels] > 2 ** (first + 1)).nonzero().flatten()
            each_rows = max(ROWS // len(heads), 2)
            pairs = draws * sum(len(each) for each in heads)
            used = max(min(IMAGES, MOST_NUMBERS // (each_rows * len(heads) * classes)), 1)
            optimizer = torch.optim.Adam(chain.blocks[first:].parameters(), hparams.lr)
            for _ in range(min(hparams.epochs * -(-pairs // ROWS), most)):
                entering, picked = drawn_rows(shots[first:], heads, each_rows, generator)
                drawn = torch.rand(used, dtype=torch.float64, generator=generator)
                some = images[(drawn.to(images.device) * len(images)).long()]
                moved = chain(*entering, *[whole[:0]] * (blocks - first - len(heads)))
                loss = (moved - whole[picked]).square().sum(dim=1).mean()
                if hparams.weight > 0:
                    loss = loss + hparams.weight * replaced_row_loss(
                        moved * length, picked, features[some], labels[some], whole * length
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.beat()
        return chain.eval()
