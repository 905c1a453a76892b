"""The apps of `websockets.py`, one file a framework.

Each has the same doors: the websockets `/text` and `/json` send back what they get, `/listen` sends what is
published, and so does the event stream `/events`; `POST /publish` publishes its body.
"""
