"""The common structure of the networks: a stem, a sequence of blocks, and a head."""

from __future__ import annotations

from torch import Tensor, nn


class StagedNetwork(nn.Module):
    """A network whose blocks halve the resolution several times.

    Input ``[N, 3, H, W]``, normalised float; output ``[N, num_classes]`` logits. Subclasses build the parts.

    Attributes:
        stem: the layers before the blocks; it halves the resolution.
        blocks: each has a ``stride``, 1 or 2.
        classifier: the last layer.
    """

    stem: nn.Module
    blocks: nn.Sequential
    classifier: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to logits ``[N, num_classes]``."""
        return self.forward_head(self.blocks(self.stem(x)))

    def forward_head(self, last: Tensor) -> Tensor:
        """Map the output of the last block to logits ``[N, num_classes]``."""
        raise NotImplementedError

    def arranged(self) -> nn.Module:
        """Return the same function, already folded, in the graph that CPUs run fastest; see ``arranged``.

        A family that has no such graph returns itself.
        """
        return self
