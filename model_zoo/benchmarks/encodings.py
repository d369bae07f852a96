"""In which encoding a file is: UTF-8 and UTF-16, else the likeliest of those that people's tables come in."""

import re

_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # its marks
GUESS = "a guess: save the file as UTF-8 if it reads wrong"
_KANA, _CHINESE = (
    re.compile(r"[\u3040-\u30ff]"),
    re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uff00-\uffef\u3000-\u303f]"),
)
_HANGUL, _CYRILLIC = re.compile(r"[\uac00-\ud7a3]"), re.compile(r"[\u0400-\u04ff]")


_MARKS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    **{bytes((0x80, version)): "a pickle" for version in range(2, 6)},
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
}


def binary(data: bytes) -> str:
    """What a file is in words where it is no text; none where it may be."""
    known = next((what for mark, what in _MARKS.items() if data.startswith(mark)), "")
    if known:
        return known
    sample = data[:2000]
    zeros = sample.count(0)
    return "binary" if zeros and _byte_order(data) is None and not data.startswith(_UTF16) else ""


def decoded(data: bytes) -> tuple[str, str]:
    """The text, and how it was read, empty for UTF-8. Single bytes that are no UTF-8, in a text that
    otherwise is, become U+FFFD.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16", errors="replace"), "UTF-16"
    if (order := _byte_order(data)) is not None:
        return data.decode(order, errors="replace"), "UTF-16"
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8-sig", errors="replace")
    bad = text.count("\ufffd")
    if bad < sum(ord(c) > 127 for c in text) - bad:
        return text, "UTF-8 with broken bytes"
    text, name = _guessed(data)
    return text, f"{name}, {GUESS}"


def _byte_order(data: bytes) -> str | None:
    """UTF-16 without its mark: every second byte of plain letters is zero."""
    sample = data[:2000]
    if sample.count(0) < len(sample) / 4:
        return None
    return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"


def _guessed(data: bytes) -> tuple[str, str]:
    """The first encoding whose text is of the letters that it is there for."""
    # letters of one byte stand alone or among others of their kind, characters of two bytes come in pairs
    runs = re.findall(rb"[\x80-\xff]+", data)
    paired = sum(len(run) for run in runs if len(run) > 1) > 0.8 * sum(map(len, runs))
    # its letters lie all in the upper half, of two bytes the second lies anywhere
    cyrillic = all(byte >= 0xC0 for run in runs for byte in run)
    for codec, name, letters, least in (
        *([("cp1251", "Windows-1251", _CYRILLIC, 0.9)] if cyrillic else []),
        ("shift_jis", "Shift-JIS", _KANA, 0.2),
        ("euc_kr", "EUC-KR", _HANGUL, 0.95),
        ("gb18030", "GB18030", _CHINESE, 0.5),
    ):
        if codec != "shift_jis" and not paired:
            continue
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        odd = [c for c in text if ord(c) > 127]
        if len(odd) > 1 and sum(bool(letters.match(c)) for c in odd) >= least * len(odd):
            return text, name
    return data.decode("cp1252", errors="replace"), "Windows-1252"
