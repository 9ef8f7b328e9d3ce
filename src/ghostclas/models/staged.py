"""What every network of ours is: a stem, a sequence of blocks, and a head."""

from __future__ import annotations

from torch import Tensor, nn


class StagedNetwork(nn.Module):
    """A network that halves its maps within a sequence of blocks.

    Input ``[N, 3, H, W]``, normalised float; output ``[N, num_classes]`` logits. Subclasses make the parts.

    Attributes:
        stem: what comes before the blocks; it halves the image.
        blocks: each has a ``stride``, 1 or 2.
        classifier: the last layer.
    """

    stem: nn.Module
    blocks: nn.Sequential
    classifier: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, 3, H, W]`` to logits ``[N, num_classes]``."""
        return self.answer(self.blocks(self.stem(x)))

    def answer(self, last: Tensor) -> Tensor:
        """Map what the last block gives to logits ``[N, num_classes]``."""
        raise NotImplementedError

    def arranged(self) -> nn.Module:
        """Return the same function, folded as it is, in the graph that CPUs run fastest; see ``arranged``.

        A family that has no such graph returns itself.
        """
        return self
