"""Compiles generated source, and lets tracebacks and debuggers show its lines."""

import itertools
import linecache
import weakref
import zlib
from functools import lru_cache
from types import CodeType

_numbers = itertools.count(1)


class _SourceLoader:
    """Supplies the source to `linecache` on demand.

    Most sources are never shown, and generated lines repeat: compressed, a field's takes about a
    tenth of its text.
    """

    def __init__(self, source: str) -> None:
        self._compressed = zlib.compress(source.encode(errors="surrogatepass"))

    def get_source(self, _name: str) -> str:
        return zlib.decompress(self._compressed).decode(errors="surrogatepass")


@lru_cache(maxsize=256)
def compile_function(source: str) -> CodeType:
    """Compile a module whose only statement defines a function.

    Equal sources share one code object, because different documents often select the same fields.
    The `linecache` entry is removed when neither this cache nor any plan holds the function's code.
    """
    filename = f"howdah-plan:{next(_numbers)}"  # linecache ignores names in angle brackets
    module = compile(source, filename, "exec")
    (function,) = (const for const in module.co_consts if isinstance(const, CodeType))
    linecache.lazycache(filename, {"__name__": filename, "__loader__": _SourceLoader(source)})
    weakref.finalize(function, linecache.cache.pop, filename, None).atexit = False
    return module
