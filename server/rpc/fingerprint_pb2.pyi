from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Block(_message.Message):
    __slots__ = ("header", "pcm")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PCM_FIELD_NUMBER: _ClassVar[int]
    header: Header
    pcm: bytes
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., pcm: _Optional[bytes] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("sample_rate", "channels", "frames")
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    sample_rate: int
    channels: int
    frames: int
    def __init__(self, sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., frames: _Optional[int] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("path", "size")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class Fingerprint(_message.Message):
    __slots__ = ("version", "frames", "sample_rate", "channels", "values", "extras", "ltas_db", "histogram", "flags", "detail_db")
    class ExtrasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    LTAS_DB_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_DB_FIELD_NUMBER: _ClassVar[int]
    version: int
    frames: int
    sample_rate: int
    channels: int
    values: _containers.RepeatedScalarFieldContainer[float]
    extras: _containers.ScalarMap[str, float]
    ltas_db: _containers.RepeatedScalarFieldContainer[float]
    histogram: bytes
    flags: _containers.RepeatedScalarFieldContainer[str]
    detail_db: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, version: _Optional[int] = ..., frames: _Optional[int] = ..., sample_rate: _Optional[int] = ..., channels: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., extras: _Optional[_Mapping[str, float]] = ..., ltas_db: _Optional[_Iterable[float]] = ..., histogram: _Optional[bytes] = ..., flags: _Optional[_Iterable[str]] = ..., detail_db: _Optional[_Iterable[float]] = ...) -> None: ...
