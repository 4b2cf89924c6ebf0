"""A small encoder of JPEG lossless, process 14 (ITU-T T.81 Annex H), apart from any decoder under test."""

import struct

import numpy as np
from pydicom.encaps import encapsulate

# One Huffman code of 5 bits per difference category (0 to 16): never all ones, so always valid.
CODE_BITS, CATEGORIES = 5, 17


def predictions(samples: np.ndarray, selection: int, precision: int) -> np.ndarray:
    """Predicted values (T.81 table H.1); first line from the left, first column from above."""
    a, b, c = (np.zeros_like(samples) for _ in range(3))
    a[:, 1:], b[1:], c[1:, 1:] = samples[:, :-1], samples[:-1], samples[:-1, :-1]
    predicted = {
        1: a,
        2: b,
        3: c,
        4: a + b - c,
        5: a + ((b - c) >> 1),
        6: b + ((a - c) >> 1),
        7: (a + b) >> 1,
    }[selection]
    predicted[0, 1:], predicted[1:, 0] = a[0, 1:], b[1:, 0]
    predicted[0, 0] = 1 << (precision - 1)
    return predicted


def encode(frame: np.ndarray, selection: int, precision: int) -> bytes:
    """One frame (rows, columns) of unsigned values below 2^precision as a JPEG stream."""
    samples = frame.astype(np.int64)
    differences = (samples - predictions(samples, selection, precision)) & 0xFFFF
    differences = np.where(differences > 32768, differences - 65536, differences)
    bits = "".join(code(int(d)) for d in differences.ravel())
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = frame.shape
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xC3, struct.pack(">BHHB3B", precision, rows, columns, 1, 1, 0x11, 0)),
            segment(
                0xC4, bytes([0, *(CATEGORIES if n == CODE_BITS else 0 for n in range(1, 17)), *range(17)])
            ),
            segment(0xDA, bytes([1, 1, 0, selection, 0, 0])),
            data,
            b"\xff\xd9",
        )
    )


def code(difference: int) -> str:
    """Category by its Huffman code, then the low bits (T.81 H.1.2.2); 32768 has none."""
    category = abs(difference).bit_length()
    text = format(category, f"0{CODE_BITS}b")
    if category in (0, 16):
        return text
    low = difference if difference > 0 else difference + (1 << category) - 1
    return text + format(low, f"0{category}b")


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def compress(ds, syntax: str, selection: int) -> None:
    """Replace a dataset's uncompressed 16-bit pixels by JPEG lossless ones."""
    frame = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    ds.PixelData = encapsulate([encode(frame & ((1 << ds.BitsStored) - 1), selection, ds.BitsStored)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
