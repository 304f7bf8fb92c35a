"""Gates that open or close a block, or single channels, separately for each image.

    block gate (ConvNet-AIG, Veit & Belongie, ECCV 2018, arXiv 1711.11503)
        logits = W2 ReLU(BN(W1 GAP(x)))  in R^2: skip, execute
        training: z = argmax(logits + Gumbel noise), backward through softmax((logits + noise) / tau)

    channel gates (Bejnordi, Blankevoort, Welling, ICLR 2020, arXiv 1907.06627)
        logits = W2 ReLU(BN(W1 GAP(x)))  in R^C
        training: g = 1[logit + logistic noise > 0], backward through sigmoid((logit + noise) / tau)

    evaluation, both: without noise; a block gate can be told to sample there too

    saliency (FBS, Gao, Zhao, Dudziak, Mullins, Xu, ICLR 2019, arXiv 1810.05331), the rival of channel gates
        s = ReLU(W GAP(|x|) + 1)  in R^C,  g = s where it is among the k largest, else 0

Shapes: B images, C channels, H x W pixels. Noise is drawn on the CPU from a generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

HIDDEN = 16
BLOCK_TAU = 1.0
CHANNEL_TAU = 2 / 3
SKIP_BIAS, EXECUTE_BIAS = 0.1, 2.0
"""Initially a block gate is open with probability 0.87."""
WEIGHT_STD = 0.001


class BlockGate(nn.Module):
    """Decides for each image whether a block runs.

    Args:
        channels: C of the block's input.
        hidden: units of the hidden layer.
        tau: temperature of the gradient's softmax.
        generator: draws the first weights, and later the noise.

    Attributes:
        evaluation_seed: None, or a seed for noise in evaluation mode too: the same noise in every pass.
    """

    def __init__(
        self, channels: int, *, hidden: int = HIDDEN, tau: float = BLOCK_TAU, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.tau = tau
        self.evaluation_seed: int | None = None
        self._generator = generator
        self.body = _body(channels, hidden, generator)
        self.head = nn.Linear(hidden, 2)
        nn.init.normal_(self.head.weight, std=WEIGHT_STD, generator=generator)
        self.head.bias = nn.Parameter(torch.tensor([SKIP_BIAS, EXECUTE_BIAS]))

    def logits(self, x: Tensor, means: Tensor | None = None) -> Tensor:
        """Logits of skip and execute, (B, 2), from x (B, C, H, W) and, if known, the means (B, C) of its channels."""
        logits: Tensor = self.head(self.body(x.mean((2, 3)) if means is None else means))
        return logits

    def forward(self, x: Tensor, means: Tensor | None = None) -> Tensor:
        """Z, 0 or 1 per image, (B,); arguments as of ``logits``. A gradient passes in training mode only."""
        logits = self.logits(x, means)
        generator = self._generator
        if not self.training:
            if self.evaluation_seed is None:
                return (logits[:, 1] > logits[:, 0]).to(logits.dtype)
            generator = torch.Generator().manual_seed(self.evaluation_seed)
        noisy = logits + _gumbel(logits, generator)
        soft = (noisy / self.tau).softmax(1)[:, 1]
        return _straight_through((noisy[:, 1] > noisy[:, 0]).to(soft.dtype), soft)


class ChannelGate(nn.Module):
    """Decides for each image which channels of a block are open.

    Args:
        in_channels: channels of the block's input, from which the gate decides.
        channels: G, the number of gates: one per channel to open or close.
        hidden: units of the hidden layer.
        tau: temperature of the gradient's sigmoid.
        generator: draws the first weights, and later the noise.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        hidden: int = HIDDEN,
        tau: float = CHANNEL_TAU,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tau = tau
        self._generator = generator
        self.body = _body(in_channels, hidden, generator)
        self.head = nn.Linear(hidden, channels)
        nn.init.normal_(self.head.weight, std=hidden**-0.5, generator=generator)
        nn.init.zeros_(self.head.bias)

    def logits(self, x: Tensor) -> Tensor:
        """One logit per gate: (B, C, H, W) -> (B, G)."""
        logits: Tensor = self.head(self.body(x.mean((2, 3))))
        return logits

    def soft(self, logits: Tensor) -> Tensor:
        """P(g = 1), (B, G), the input of the batch-shaping and L0 losses."""
        return logits.sigmoid()

    def sample(self, logits: Tensor) -> Tensor:
        """g, 0 or 1, from logits (B, G): without noise in evaluation mode, with a gradient in training mode."""
        if not self.training:
            return (logits > 0).to(logits.dtype)
        noisy = logits + _logistic(logits, self._generator)
        return _straight_through((noisy > 0).to(logits.dtype), (noisy / self.tau).sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """G for every image and channel: (B, C, H, W) -> (B, G)."""
        return self.sample(self.logits(x))


class SaliencyGate(nn.Module):
    """Scales channels by their saliency and closes all but the most salient ones (FBS).

    It has no noise, and its gates are saliencies, not shares between 0 and 1.

    Args:
        in_channels: channels of the block's input, from which the gate decides.
        channels: G, the number of gates: one per channel to scale or close.
        keep: share of channels that stay open, above 0; at least one channel does.
        generator: draws the first weights.
    """

    def __init__(self, in_channels: int, channels: int, *, keep: float, generator: torch.Generator) -> None:
        super().__init__()
        self.keep = max(1, round(keep * channels))
        self.head = nn.Linear(in_channels, channels)
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="relu", generator=generator)
        nn.init.ones_(self.head.bias)

    def logits(self, x: Tensor) -> Tensor:
        """Saliency s of every channel: (B, C, H, W) -> (B, G), at least 0."""
        saliency: Tensor = F.relu(self.head(x.abs().mean((2, 3))))
        return saliency

    def soft(self, logits: Tensor) -> Tensor:
        """The saliency itself, (B, G), whose mean the method's loss keeps small."""
        return logits

    def sample(self, logits: Tensor) -> Tensor:
        """Gates g from s, (B, G): 0 except for the ``keep`` largest of each image, which get the gradient."""
        if self.keep >= logits.shape[1]:
            return logits
        winners = logits.topk(self.keep, dim=1).indices
        return logits * torch.zeros_like(logits).scatter_(1, winners, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """G for every image and channel: (B, C, H, W) -> (B, G)."""
        return self.sample(self.logits(x))


def gate_macs(gate: nn.Module) -> int:
    """Multiply-accumulate operations of a gate per image."""
    return sum(module.weight.numel() for module in gate.modules() if isinstance(module, nn.Linear))


def _body(channels: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    first = nn.Linear(channels, hidden, bias=False)
    nn.init.kaiming_normal_(first.weight, nonlinearity="relu", generator=generator)
    return nn.Sequential(first, _Norm(hidden), nn.ReLU())


class _Norm(nn.BatchNorm1d):
    """Batch normalisation; a single image, whose deviation is 0, is normalised by the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- PyTorch's name
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def _straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of ``hard``, bit-exact, with the gradient of ``soft``."""
    return _StraightThrough.apply(hard, soft)  # type: ignore[no-any-return]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, hard: Tensor, soft: Tensor) -> Tensor:  # noqa: ARG004 - PyTorch's signature
        return hard.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> tuple[None, Tensor]:  # noqa: ARG004
        return None, gradient


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in (0, 1), without both ends."""
    drawn = torch.rand(like.shape, generator=generator, dtype=torch.float64)
    return drawn.clamp(1e-12, 1 - 1e-12)


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    return -(-_uniform(like, generator).log()).log().to(like.device, like.dtype)


def _logistic(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.logit(_uniform(like, generator)).to(like.device, like.dtype)
