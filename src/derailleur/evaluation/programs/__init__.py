"""Programs with tests: rows, and running many of them in sandboxes."""

from derailleur.evaluation.programs.row import Language, Row, read_rows

__all__ = ["Language", "Row", "read_rows"]
