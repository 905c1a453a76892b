"""REST resources: a class for each kind of thing, a method for each verb, answers as data.

``Api`` registers ``Resource`` classes on an app or a router (``api.py``, ``resource.py``), in the representation that
the client accepts (``outputs.py``), and answers errors as problems (``problems.py``). ``fields`` and
``marshal`` choose what leaves, ``masks.py`` lets the client choose less. ``reqparse`` and ``inputs`` read arguments
as Flask-RESTful does; typed parameters do the same with less. ``pagination.py`` and ``versions.py`` stand alone.
"""

from __future__ import annotations

from microweb.ext.rest import fields, inputs, reqparse
from microweb.ext.rest.api import Api
from microweb.ext.rest.marshalling import marshal, marshal_with, marshal_with_field
from microweb.ext.rest.masks import Mask
from microweb.ext.rest.pagination import CursorPage, CursorWindow, Page, PageWindow, paginate
from microweb.ext.rest.problems import abort
from microweb.ext.rest.resource import Resource
from microweb.ext.rest.versions import MediaTypeVersions

__all__ = [
    "Api",
    "CursorPage",
    "CursorWindow",
    "Mask",
    "MediaTypeVersions",
    "Page",
    "PageWindow",
    "Resource",
    "abort",
    "fields",
    "inputs",
    "marshal",
    "marshal_with",
    "marshal_with_field",
    "paginate",
    "reqparse",
]
