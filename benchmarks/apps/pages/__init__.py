"""The apps of `pages.py`, one file a framework."""
