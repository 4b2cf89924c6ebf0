"""Batches of a cohort that is not on the device: read from its file one step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from pipeline.training.cohort_file import CohortFile, CohortHeader


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
    """Images and masks in a file, read while the previous step is computed.

    Which patients the next batch holds is known beforehand, so :meth:`announce` starts to read
    and copy them on a thread and, on an accelerator, on a CUDA stream of its own. :meth:`take`
    returns the same tensors whether they were announced or not. At most two batches are in memory.

    Args:
        file: The cohort's file.
        device: The device to which batches are copied.
    """

    def __init__(self, file: CohortFile, device: torch.device) -> None:
        import torch

        self.file, self.device = file, device
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

    def close(self) -> None:
        """Read nothing more."""
        self._thread.shutdown(cancel_futures=True)

    def _fetch(self, rows: list[int]) -> ImageBatch:
        import torch

        pinned = self._stream is not None
        images, masks = empty_rows(self.file.header, len(rows), pinned=pinned)
        for place, row in enumerate(rows):
            self.file.read(row, images[place], masks[place])
        if self._stream is None:
            return ImageBatch(images, masks)
        # PyTorch's pinned memory knows the stream that copies from it, and is not reused before.
        with torch.cuda.stream(self._stream):
            images = images.to(self.device, non_blocking=True)
            masks = masks.to(self.device, non_blocking=True)
            return ImageBatch(images, masks, self._stream.record_event())


def empty_rows(
    header: CohortHeader, patients: int, device: str = "cpu", *, pinned: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for patients of a cohort: images (B, C, Z, Y, X) and masks (B, Z, Y, X).

    Args:
        header: Shape and precision.
        patients: Their number.
        device: Where they lie; `meta`: nowhere, the tensors have a shape and no values.
        pinned: Whether an accelerator may copy from there while the processor goes on.
    """
    import torch

    from pipeline.training.cohort_file import torch_type

    dtype = torch_type(header.precision)
    images = torch.empty((patients, *header.shape), dtype=dtype, device=device, pin_memory=pinned)
    masks = torch.empty((patients, *header.shape[1:]), dtype=torch.uint8, device=device, pin_memory=pinned)
    return images, masks
