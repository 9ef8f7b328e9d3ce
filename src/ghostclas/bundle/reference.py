"""``reference.safetensors``: the images and right answers that every copy of a bundle carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """The proof that a bundle carries: images and the right answers.

    ``jpegs`` are encoded images; ``pixels``, uint8 ``[N, crop, crop, 3]``, is what preprocessing made of
    them, and ``logits``, float32 ``[N, C]``, what the training framework computed from ``pixels``.
    """

    jpegs: Sequence[bytes]
    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return it as the content of a safetensors file."""
        import numpy as np
        from safetensors.numpy import save

        encoded = {f"jpeg.{i}": np.frombuffer(jpeg, np.uint8) for i, jpeg in enumerate(self.jpegs)}
        return save({"pixels": self.pixels, "logits": self.logits, **encoded})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` returned.

        Raises:
            ValueError: it is something else; the text says what.
        """
        import numpy as np
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(data)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"not a complete safetensors file ({str(error)[:160]})") from None
        count = len(tensors) - 2
        names = {"pixels", "logits", *(f"jpeg.{i}" for i in range(count))}
        if count < 1 or set(tensors) != names:
            raise ValueError("its tensors are not pixels, logits and jpeg.0, jpeg.1, ...")
        pixels, logits = tensors["pixels"], tensors["logits"]
        fits = pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels) == count
        if not (fits and logits.dtype == np.float32 and logits.ndim == 2 and len(logits) == count):
            raise ValueError("its pixels, logits and images do not match each other")
        return cls([tensors[f"jpeg.{i}"].tobytes() for i in range(count)], pixels, logits)
