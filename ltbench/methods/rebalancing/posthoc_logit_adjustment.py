"""Logit adjustment (post-hoc): a trained network's logits minus the log prior.

Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", ICLR 2021
(arXiv:2007.07314).

    argmax_y z_y - tau log pi_y              (9)     implemented
    L = -log softmax(z + tau log pi)_y       (10)    in `logit_adjustment`

Where the test prior is known its logarithm is added, as in the PC-softmax of Hong et al.,
"Disentangling Label Distribution for Long-tailed Visual Recognition", CVPR 2021 (arXiv:2012.00321):
z - tau log pi_train + log pi_test, of which their code leaves log pi_test out where the network was
trained by plain softmax. The code of Menon et al. has log(pi^tau + 1e-12); ours subtracts its
maximum, a constant in softmax.
"""

from pydantic import Field
from torch import Tensor

from ltbench.losses import posthoc_adjustment
from ltbench.methods.contract import HParams, Method, Stage
from ltbench.methods.papers import LOGIT_ADJUSTMENT


class PosthocLogitAdjustmentHParams(HParams):
    """Hyper-parameters of post-hoc logit adjustment."""

    tau: float = Field(1.0, ge=0, description="strength; 1 is consistent for the balanced error")


class PosthocLogitAdjustment(Method):
    """A trained network with adjusted logits."""

    title = "Logit adjustment (post-hoc)"
    paper = LOGIT_ADJUSTMENT
    category = "logit adjustment"
    stages = (Stage("posthoc", is_trained=False, recipe_stage="stage2"),)
    init_from = "softmax"
    required_init_tensors = ("weight", "bias")
    reduces_to = "softmax"
    test_time = "known_test_prior"
    oracle = "logit_adjustment"
    HParams = PosthocLogitAdjustmentHParams
    hparams: PosthocLogitAdjustmentHParams

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return adjusted logits [B, classes] of images."""
        logits = posthoc_adjustment(self.network(images), self.counts, self.hparams.tau)
        return logits if target_prior is None else logits + target_prior.log().to(logits.dtype)
