"""Small things that scripts import by the name of this module; they live elsewhere."""

from __future__ import annotations

from .outputs import copy_outputs, redirect_outputs
from .slug import slugify

__all__ = ["copy_outputs", "redirect_outputs", "slugify"]
