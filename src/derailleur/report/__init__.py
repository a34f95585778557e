"""One HTML page about a run, made from the files of its stages."""

from derailleur.report.page import VERSION, report
from derailleur.report.run_folder import RunFolder

__all__ = ["VERSION", "RunFolder", "report"]
