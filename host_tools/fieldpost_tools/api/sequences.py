"""JSON text sequences (RFC 7464): texts between 0x1E and LF, on a line that others write to."""

RS, LF = b"\x1e", b"\n"


def frame(text):
    """``text`` (bytes of JSON without a line break) as one element of a sequence."""
    return RS + text + LF


class Splitter:
    """Takes a byte stream apart: ``feed`` returns the texts of a sequence that are complete.

    ``on_noise(data)`` gets what stands outside of them. A text that 0x1E interrupts was cut off
    by the writer's end (RFC 7464, section 2.3) and is noise as well, as is one of more than
    ``max_bytes``, whose rest is skipped.
    """

    def __init__(self, max_bytes, on_noise):
        self._max_bytes = max_bytes
        self._on_noise = on_noise
        self._text = None  # bytearray within a text

    def feed(self, data):
        """The texts, as bytes without their frame, that ``data`` completes."""
        texts = []
        while data:
            if self._text is None:
                data = self._outside(data)
            else:
                data = self._inside(data, texts)
        return texts

    def _outside(self, data):
        noise, mark, data = data.partition(RS)
        if noise:
            self._on_noise(noise)
        if mark:
            self._text = bytearray()
        return data

    def _inside(self, data, texts):
        part, end, rest = data.partition(LF)
        cut, mark, _ = part.partition(RS)
        self._text += cut
        if mark or len(self._text) > self._max_bytes:
            self._on_noise(bytes(self._text))
            self._text = None
            return data[len(cut) :]
        if end:
            texts.append(bytes(self._text))
            self._text = None
        return rest
