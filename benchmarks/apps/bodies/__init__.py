"""The apps of `bodies.py`, one file a framework."""
