"""``python -m heliotrope.cli`` is the ``heliotrope`` command."""

from .main import main

main()
