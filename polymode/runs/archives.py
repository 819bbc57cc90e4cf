"""Members of zip files, those compressed by Zstandard too, which Python reads itself only from 3.14 (layer L3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from struct import Struct
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from polymode.errors import DataNotFoundError, MissingExtraError, RecordError

LONGEST = 1_000_000_000
"""Bytes of the largest member that is read: one sample of a long conversation, with every event of it."""
_ZSTANDARD = 93
_LOCAL_HEADER = Struct("<26x2H")
"""In front of a member's data: 26 bytes that the directory repeats, then the lengths of its name and extra field."""


class Archive:
    """The members of a zip file by name; of several with one name, the last."""

    def __init__(self, path: Path, file: ZipFile) -> None:
        self.path, self._file = path, file
        self.members: dict[str, ZipInfo] = {info.filename: info for info in file.infolist()}

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            RecordError: it is damaged, too large, or compressed in a way that is not known.
            MissingExtraError: it needs a package that is not installed.
        """
        info, where = self.members[name], f"{self.path}, {name}"
        if info.file_size > LONGEST:
            raise RecordError(f"{where}: longer than {LONGEST:,} bytes; such a member is not read")
        try:
            if info.compress_type in (ZIP_STORED, ZIP_DEFLATED):
                return self._file.read(info)
            if info.compress_type == _ZSTANDARD:
                return self._read_zstandard(info)
        except (MissingExtraError, RecordError):
            raise
        except Exception as exc:  # each decompressor has errors of its own
            reason = str(exc)[:80] or type(exc).__name__
            raise RecordError(f"{where}: damaged ({reason}); copy the file again") from None
        raise RecordError(f"{where}: compression {info.compress_type} is not read; pack the file again")

    def _read_zstandard(self, info: ZipInfo) -> bytes:
        with self.path.open("rb") as handle:
            handle.seek(info.header_offset)
            skip = sum(_LOCAL_HEADER.unpack(handle.read(_LOCAL_HEADER.size)))
            handle.seek(skip, 1)
            content = _decompress(handle.read(info.compress_size), info.file_size)
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise ValueError("its checksum differs")
        return content


def _decompress(data: bytes, size: int) -> bytes:
    """Zstandard by whichever package is there: inspect_ai brings the one, `polymode[train]` the other."""
    try:
        import zstandard  # pyright: ignore[reportMissingImports]  # not in every environment
    except ImportError:
        pass
    else:
        with zstandard.ZstdDecompressor().stream_reader(BytesIO(data), read_across_frames=True) as stream:
            return stream.read(size + 1)
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("zstandard", "inspect", "logs of inspect_ai") from None
    return pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd").read(size + 1)


@contextmanager
def archive(path: Path) -> Iterator[Archive]:
    """Open a zip file.

    Raises:
        DataNotFoundError: there is no such file, or it cannot be read.
        RecordError: it is no zip file, or one that was cut off.
    """
    try:
        with ZipFile(path) as file:
            yield Archive(path, file)
    except BadZipFile:
        fix = "copy it again, or wait until it is written"
        raise RecordError(f"{path}: no zip file, or one that was cut off; {fix}") from None
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist: check the path") from None
    except OSError as exc:
        raise DataNotFoundError(f"{path} cannot be read: {exc.strerror or exc}") from None
