"""Batches of a cohort too large for the device: copied from host memory one step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ImageBatch:
    """Images and masks of some patients, on the device.

    Attributes:
        images: (B, C, Z, Y, X).
        masks: (B, Z, Y, X).
        copied: CUDA event after the copy; None on a CPU.
    """

    images: torch.Tensor
    masks: torch.Tensor
    copied: torch.cuda.Event | None = None


@dataclass(frozen=True)
class _Announced:
    """A batch that is being fetched.

    Attributes:
        rows: Row numbers of its patients.
        future: The batch.
    """

    rows: list[int]
    future: Future[ImageBatch]


class Prefetcher:
    """Images and masks in (pinned) host memory, copied while the previous step is computed.

    Which patients the next batch holds is known beforehand, so :meth:`announce` starts to gather
    and copy them on a thread and, on an accelerator, on a CUDA stream of its own. :meth:`take`
    returns the same tensors whether they were announced or not.

    Args:
        images: (N, C, Z, Y, X) in host memory.
        masks: (N, Z, Y, X) in host memory.
        device: The device to which batches are copied.
    """

    def __init__(self, images: torch.Tensor, masks: torch.Tensor, device: torch.device) -> None:
        import torch

        self.images, self.masks, self.device = images, masks, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._announced: _Announced | None = None
        self.hits = 0
        """Number of batches that had been announced when they were taken."""

    def announce(self, rows: Sequence[int]) -> None:
        """Start to fetch the batch that will be taken next."""
        self._announced = _Announced(list(rows), self._thread.submit(self._fetch, list(rows)))

    def take(self, rows: Sequence[int]) -> ImageBatch:
        """Images and masks of a batch, on the device."""
        announced, self._announced = self._announced, None
        if announced is not None and announced.rows == list(rows):
            self.hits += 1
            batch = announced.future.result()
        else:
            # Through the thread as well: two fetches at once would share the stream.
            batch = self._thread.submit(self._fetch, list(rows)).result()
        if batch.copied is not None:
            import torch

            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(batch.copied)
            for tensor in (batch.images, batch.masks):
                # Their memory must not go to another fetch before this stream is done with it.
                tensor.record_stream(stream)
        return batch

    def _fetch(self, rows: list[int]) -> ImageBatch:
        import torch

        index = torch.tensor(rows)
        if self._stream is None:
            return ImageBatch(self.images.index_select(0, index), self.masks.index_select(0, index))
        # PyTorch's pinned memory knows the stream that copies from it, and is not reused before.
        with torch.cuda.stream(self._stream):
            images, masks = self._copy(self.images, index), self._copy(self.masks, index)
            return ImageBatch(images, masks, self._stream.record_event())

    def _copy(self, stored: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        import torch

        gathered = torch.empty((len(index), *stored.shape[1:]), dtype=stored.dtype, pin_memory=True)
        torch.index_select(stored, 0, index, out=gathered)
        return gathered.to(self.device, non_blocking=True)
