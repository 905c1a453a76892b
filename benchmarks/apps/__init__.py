"""One file a contestant, each row written as the framework's own documentation writes it.

A file offers `build(row, variant)`, which gives the ASGI app that answers the row; `VARIANTS`, the rows
that it can answer in more than one way, the way that proved quickest last (`wire.py` takes that one);
and `VERSIONS`, which are printed with the figures.
"""
