"""Functions that test ranks run, or one process without a group."""

import torch
from torch import nn
from torch.distributed import is_initialized
from torch.nn.parallel import DistributedDataParallel

from ltbench.core.distributed import all_sum, gather, global_mean, rank, world_size
from ltbench.core.inner import Learned, virtual_step
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.data.loaders import rank_slice
from ltbench.losses import counted_samples, disc_centroids, focal, group_softmax, ldam
from ltbench.networks.class_statistics import ClassMemory, ClassMoments
from ltbench.runs.record import EvaluationResult
from ltbench.training.evaluation import Evaluation

FEATURES = 3
CLASSES = 5


def local(rows, sizes):
    """Return this rank's rows, of which rank r has `sizes[r]`."""
    return rows.split(sizes)[rank()]


def mean_and_gradient(sizes, weighted):
    """Return a mean over all ranks' samples, and its DDP gradient."""
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(sum(sizes), FEATURES, dtype=torch.float64, generator=generator)
    weights = torch.rand(sum(sizes), generator=generator) if weighted else None
    model = nn.Linear(FEATURES, 1).double()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    module = DistributedDataParallel(model) if is_initialized() else model
    losses = module(local(samples, sizes)).squeeze(1).exp()  # [B]
    mean = global_mean(losses, None if weights is None else local(weights, sizes))
    mean.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return float(all_sum(mean.detach())) / world_size(), gradient.tolist()


def joined(sizes):
    """Return gathered rows of several types."""
    rows = torch.arange(sum(sizes) * 2, dtype=torch.float64).view(-1, 2).requires_grad_()
    labels = torch.arange(sum(sizes))
    gathered = [gather(local(values, sizes)) for values in (rows, labels, labels % 2 == 0)]
    assert not gathered[0].requires_grad
    return [values.tolist() for values in gathered]


def summed(rows):
    """Return the sum of the ranks' rows, and the local row afterwards."""
    value = rows[rank()].requires_grad_()
    total = all_sum(value)
    return total.tolist(), value.tolist(), total.requires_grad


def centroids_loss(features, labels, centroids):
    """Return the centroid loss of all ranks' features, and its averaged gradient."""
    features = features.chunk(world_size())[rank()].clone().requires_grad_()
    centroids = centroids.clone().requires_grad_()
    loss = disc_centroids(features, labels.chunk(world_size())[rank()], centroids)
    loss.backward()
    mean, gradient = (all_sum(value) / world_size() for value in (loss, centroids.grad))
    return float(mean), gradient.tolist()


def groups_loss(batch):
    """Return BAGS's loss of all ranks' samples with few "others", and its averaged gradient."""
    generator, groups = torch.Generator().manual_seed(0), torch.tensor([1, 0, 0])
    bias = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(batch, CLASSES, dtype=torch.float64, generator=generator)
    labels = torch.arange(batch) // (batch - 4)  # the last 4 are of group 0
    logits, labels = (values.chunk(world_size())[rank()] for values in (logits, labels))
    numbers = GlobalBatchRNG(make_generator(0, "method", 0)).uniform(labels, 2)
    counted = counted_samples(labels, groups, numbers, ratio=0.5)
    loss = group_softmax(logits + bias, labels, groups, counted)
    (gradient,) = torch.autograd.grad(loss, bias)
    mean, gradient = (all_sum(value) / world_size() for value in (loss, gradient))
    return all_sum(counted.sum(dim=0)).tolist(), [float(mean), *gradient.tolist()]


def losses_and_gradients(sizes):
    """Return losses of samples shared by the ranks, and their averaged gradients."""
    generator = torch.Generator().manual_seed(0)
    bias = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(sum(sizes), CLASSES, dtype=torch.float64, generator=generator)
    labels = torch.randint(CLASSES, (sum(sizes),), generator=generator)
    losses = {
        "focal": lambda z, y: focal(z, y),
        "LDAM": lambda z, y: ldam(z, y, torch.arange(1, CLASSES + 1)),
    }
    answers = {}
    for name, function in losses.items():
        loss = function(local(logits, sizes) + bias, local(labels, sizes))
        (gradient,) = torch.autograd.grad(loss, bias)
        mean, gradient = (all_sum(value) / world_size() for value in (loss, gradient))
        answers[name] = [float(mean), *gradient.tolist()]
    return answers


def drawn(batch):
    """Return two steps of a method's random numbers on this rank."""
    samples = torch.arange(batch, dtype=torch.float64).chunk(world_size())[rank()]
    rng = GlobalBatchRNG(make_generator(0, "method", 0))
    steps = []
    for _ in range(2):
        order = rng.permutation(samples)
        steps.append(
            {
                "uniform": rng.uniform(samples, 2).tolist(),
                "normal": rng.normal(samples, 3).tolist(),
                "shared": rng.shared(4).tolist(),
                "partners": rng.gather_permuted(samples, order).tolist(),
                "beta": rng.beta(0.5),
            }
        )
    return steps


def evaluated(sizes) -> list[EvaluationResult]:
    """Return the results of tests of several sizes, shared by the ranks."""
    results = []
    for size in sizes:
        generator = torch.Generator().manual_seed(size)
        logits = torch.randn(size, CLASSES, generator=generator)
        labels = torch.randint(CLASSES, (size,), generator=generator)
        groups = ["many"] * (CLASSES - 1) + ["few"]
        device = torch.device("cpu")
        evaluation = Evaluation(CLASSES, torch.arange(CLASSES), device, groups)
        share = rank_slice(size, rank(), world_size())
        for first in share[::3]:
            batch = slice(first, min(first + 3, share.stop))
            evaluation.add(logits[batch], labels[batch])
        results.append(evaluation.result())
    return results


def statistics(sizes):
    """Return the state of class statistics after three steps whose rows ranks share."""
    generator = torch.Generator().manual_seed(0)
    kept = (
        ClassMoments(CLASSES, FEATURES),
        ClassMoments(CLASSES, FEATURES, share=0.1),
        ClassMoments(CLASSES, FEATURES, full=True),
        ClassMemory(torch.arange(CLASSES) + 1, FEATURES),
    )
    for _ in range(3):
        features = torch.randn(sum(sizes), FEATURES, generator=generator)
        labels = torch.randint(CLASSES, (sum(sizes),), generator=generator)
        rows = local(features, sizes), local(labels, sizes)
        for each in kept[:3]:
            each.update(*rows)
        kept[3].push(*rows)
    states = (each.state_dict() for each in kept)
    return [{name: value.tolist() for name, value in state.items()} for state in states]


def meta_gradient(rows, power):
    """Return a meta gradient over all ranks' rows, and parameters after a step of Adam on it.

    Exponents of weights are learned by a virtual step of a linear model, on the same rows.
    """
    inputs, targets = rows.chunk(world_size())[rank()].split(FEATURES, dim=1)
    learned = Learned(nn.ParameterDict({"power": power.clone()}), lr=0.1)
    model = {"weight": torch.full((FEATURES,), 0.5, dtype=rows.dtype, requires_grad=True)}
    variables = learned.variables()
    losses = (inputs @ model["weight"] - targets[:, 0]).square()
    weighted = global_mean(losses * (losses.detach()[:, None] * variables["power"]).sum(1).exp())
    moved = virtual_step(weighted, model, lr=0.05, weight_decay=0.1)
    loss = global_mean((inputs.sin() @ moved["weight"] - targets[:, 0]).square())
    (gradient,) = torch.autograd.grad(loss, variables["power"], retain_graph=True)
    learned.step(loss, variables)
    mean = all_sum(gradient) / world_size()
    return mean.tolist(), learned.module["power"].tolist(), moved["weight"].tolist()
