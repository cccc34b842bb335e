"""The data plane: a routing model goes in, the text of an nginx configuration comes out."""

from carrier2.directive import Unquotable
from carrier2.dispatch import Dispatch
from carrier2.nginx import render

__all__ = ["Dispatch", "Unquotable", "render"]
