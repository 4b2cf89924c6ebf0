"""A cohort too large for the device: batches come from host memory, one ahead of the step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Drawn = tuple["torch.Tensor", "torch.Tensor"]


class Prefetcher:
    """Images and masks in (pinned) host memory, copied while the step before is computed.

    Which patients the next batch holds is known beforehand, so :meth:`ahead` starts to gather
    and copy them on a thread and, on an accelerator, a stream of its own. :meth:`take` gives
    the same tensors whether they were announced or not.

    Args:
        images: (N, C, Z, Y, X) in host memory.
        masks: (N, Z, Y, X) in host memory.
        device: Where batches go.
    """

    def __init__(self, images: torch.Tensor, masks: torch.Tensor, device: torch.device) -> None:
        import torch

        self.images, self.masks, self.device = images, masks, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, "feed")
        self._waiting: tuple[list[int], Future[tuple[Drawn, Any]]] | None = None
        self.hits = 0
        """Batches that had been announced."""

    def ahead(self, rows: Sequence[int]) -> None:
        """Start to fetch a batch."""
        self._waiting = (list(rows), self._thread.submit(self._fetch, list(rows)))

    def take(self, rows: Sequence[int]) -> Drawn:
        """Images and masks of a batch, on the device."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting[0] == list(rows):
            self.hits += 1
            drawn, ready = waiting[1].result()
        else:
            # Through the thread as well: two fetches at once would share the stream.
            drawn, ready = self._thread.submit(self._fetch, list(rows)).result()
        if ready is not None:
            import torch

            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(ready)
            for tensor in drawn:
                # Its memory must not go to another fetch before this stream is done with it.
                tensor.record_stream(stream)
        return drawn

    def _fetch(self, rows: list[int]) -> tuple[Drawn, Any]:
        import torch

        where = torch.tensor(rows)
        if self._stream is None:
            return (self.images.index_select(0, where), self.masks.index_select(0, where)), None
        # PyTorch's pinned memory knows the stream that copies from it, and is not reused before.
        with torch.cuda.stream(self._stream):
            drawn = (self._copy(self.images, where), self._copy(self.masks, where))
            return drawn, self._stream.record_event()

    def _copy(self, stored: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
        import torch

        gathered = torch.empty((len(where), *stored.shape[1:]), dtype=stored.dtype, pin_memory=True)
        torch.index_select(stored, 0, where, out=gathered)
        return gathered.to(self.device, non_blocking=True)
