"""Partitioning reservoir: a memory of a stream, shared by classes as wanted.

Kim, Jeong, Kim, "Imbalanced Continual Learning with Partitioning Reservoir Sampling", ECCV 2020
(arXiv:2009.03632), for images of one class each.
"""

import torch
from torch import Generator, Tensor

from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.counts import class_sizes, or_one
from ltbench.samplers.draw import draw_by_weight

FREE = -1
"""Position of a slot of the memory that holds no image."""


def memory_shares(seen: Tensor, rho: float) -> Tensor:
    """Return the classes' wanted shares of the memory, `p_c ~ n_c^rho`.

    Args:
        seen: [C], images of each class in the stream so far (n).
        rho: 0 for equal shares of all classes, 1 for those in the stream.

    Returns:
        [C] float64 with sum 1; 0 for classes not seen.
    """
    sizes = class_sizes(seen, allow_empty=True)
    powers = or_one(sizes).pow(rho) * (sizes > 0)
    return powers / powers.sum()


def entry_probabilities(seen: Tensor, shares: Tensor, slots: int) -> Tensor:
    """Return entry probabilities of a full memory, `min(1, m_c / n_c)`.

    Args:
        seen: [C], images of each class in the stream so far (n).
        shares: [C] of `memory_shares` (p).
        slots: size of the memory; m_c = p_c slots.

    Returns:
        [C] float64; 1 for classes not seen.
    """
    wanted = slots * shares
    return torch.where(seen > wanted, wanted / seen.clamp_min(1), 1.0)


def exit_probabilities(held: Tensor, shares: Tensor) -> Tensor:
    """Return exit probabilities of the classes, softmax(delta).

    delta_c = l_c - p_c sum(l), by how much a class has more than its share.

    Args:
        held: [C], images of each class in the memory (l).
        shares: [C] of `memory_shares` (p).

    Returns:
        [C] float64; 0 for classes without images in the memory.
    """
    excess = held - shares * held.sum()
    return excess.masked_fill(held == 0, -torch.inf).softmax(dim=0)


class PartitioningReservoir:
    """A memory of image positions that follows a stream.

    It takes all images until it is full, later ones by `entry_probabilities`; then a random image
    of a class that is drawn by `exit_probabilities` leaves. An image that it holds is not taken
    twice.

    Args:
        labels: [N] class of each image, on the CPU.
        memory: [slots] int64, positions of the images held, FREE at its end.
        seen: [C] int64, images of each class in the stream so far.
        rho: exponent of the shares.
    """

    def __init__(self, labels: Tensor, memory: Tensor, seen: Tensor, rho: float) -> None:
        check_labels(labels, (len(labels), len(seen)))
        self.labels: list[int] = labels.tolist()
        self.slots, self.rho, self.seen = len(memory), rho, seen.clone()
        self.held: list[list[int]] = [[] for _ in seen]
        self.sizes = torch.zeros_like(seen)
        for image in memory[memory != FREE].tolist():
            self._hold(image)

    @property
    def images(self) -> list[int]:
        """Positions of the images held, by class."""
        return [image for images in self.held for image in images]

    @property
    def memory(self) -> Tensor:
        """Positions of the images held, [slots] int64, FREE at its end."""
        images = self.images
        return torch.tensor(images + [FREE] * (self.slots - len(images)))

    def replay(self, stream: Tensor, generator: Generator) -> Tensor:
        """Return the memory's images of each step, and take the stream's.

        The memory of a step has seen the stream of all steps before. From an empty one the step's
        part of the stream is returned, from one of fewer than n images all several times.

        Args:
            stream: [steps, n] positions of the stream's images.
            generator: on the CPU.

        Returns:
            [steps, n] int64 positions, in each step drawn without replacement.
        """
        check_shape("stream", stream, "steps", "n")
        draws = torch.rand(*stream.shape, 3, dtype=torch.float64, generator=generator)
        steps = []
        for arriving, numbers in zip(stream.tolist(), draws.tolist(), strict=True):
            images = self.images or arriving
            order = torch.randperm(len(images), generator=generator).tolist()
            steps.append([images[order[k % len(order)]] for k in range(len(arriving))])
            for image, uniform in zip(arriving, numbers, strict=True):
                self.take(image, *uniform)
        return torch.tensor(steps)

    def take(self, image: int, entry: float, *exits: float) -> None:
        """See an image of the stream, and perhaps hold it.

        Args:
            image: its position.
            entry: uniform random number, below the probability of its entry if it is taken.
            exits: two uniform random numbers that draw the class and the image that leaves.
        """
        label = self.labels[image]
        if image not in self.held[label]:
            if self.sizes.sum() < self.slots:
                self._hold(image)
            else:
                shares = memory_shares(self.seen, self.rho)
                if entry < entry_probabilities(self.seen, shares, self.slots)[label]:
                    self._release(exit_probabilities(self.sizes, shares), *exits)
                    self._hold(image)
        self.seen[label] += 1

    def _hold(self, image: int) -> None:
        label = self.labels[image]
        self.held[label].append(image)
        self.sizes[label] += 1

    def _release(self, probabilities: Tensor, uniform: float, uniform_in_class: float) -> None:
        """Release an image of a class, drawn by probabilities [C]."""
        label = int(draw_by_weight(probabilities, torch.tensor([uniform], dtype=torch.float64)))
        images = self.held[label]
        images.pop(int(uniform_in_class * len(images)))
        self.sizes[label] -= 1
