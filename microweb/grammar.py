"""Regular expressions that are compiled when they are first used.

Compiling the grammars of cookies, media types, rules and hosts takes a tenth of the time that importing microweb does,
and most programs never use most of them. A ``Grammar`` has the methods of ``re.Pattern`` and its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Grammar"]

if TYPE_CHECKING:
    from re import compile as Grammar  # noqa: N812 - it stands where a class stands at run time
else:

    class Grammar:
        """``re.compile(pattern, flags)``, put off."""

        def __init__(self, pattern, flags=0):
            self._source = (pattern, flags)

        def __getattr__(self, name):
            import re

            if name not in METHODS:
                raise AttributeError(name)
            compiled = re.compile(*self._source)
            # From now on the methods are found here: no further use passes this way.
            self.__dict__.update({method: getattr(compiled, method) for method in METHODS})
            return self.__dict__[name]


METHODS = ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer", "pattern", "groups")
