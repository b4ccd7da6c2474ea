"""Hybrid-SC: supervised contrast at first, a balanced classifier later.

Wang, Han, Wei, Zhang, Wang, "Contrastive Learning based Hybrid Networks for Long-Tailed Image
Classification", CVPR 2021 (arXiv:2103.14267).

    L = alpha L_SC + (1 - alpha) L_CE, alpha = 1 - (T / T_max)^2                  implemented
    L_SC = -mean_j log exp(v_i v_j / tau) / sum_(k != i) exp(v_i v_k / tau)       implemented
    L_SC on batches of all images, L_CE on class-balanced batches                 implemented
    projection with one hidden layer, of length 1; a linear classifier            implemented

j are the other views of the class of i in the global batch. All views are anchors, with gradients
through both sides. All else is as in Hybrid-PSC, with its differences from theirs; the loss is held
against the numbers of a reproduction, as the authors' code is not public.
"""

from torch import Tensor, nn

from ltbench.losses import supervised_contrast
from ltbench.methods.module_improvement.hybrid_psc import Hybrid, HybridNetwork
from ltbench.networks import NetworkSpec


class HybridSC(Hybrid):
    """Supervised contrast beside a balanced classifier."""

    title = "Hybrid-SC"
    batch_dependence = "gathered"
    oracle = "hybrid_sc"
    oracle_by_others = True

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a projection."""
        return HybridNetwork(spec, self.hparams.width)

    def contrast(self, views: Tensor, labels: Tensor) -> Tensor:
        """Return the supervised contrastive loss of embeddings.

        Args:
            views: [V, B, D], embeddings.
            labels: [B], int64.
        """
        return supervised_contrast(views, labels, self.hparams.temperature)
