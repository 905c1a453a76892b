"""``python -m microweb``: the same as the command ``microweb``."""

from __future__ import annotations

from microweb.cli import main

if __name__ == "__main__":
    main("python -m microweb")
