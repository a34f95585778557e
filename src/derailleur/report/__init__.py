"""One HTML page about a run, made from the files of its stages, or about a corpus alone."""

from derailleur.report.page import PAGE, VERSION, report, report_corpus
from derailleur.report.run_folder import RunFolder, stage_of

__all__ = ["PAGE", "VERSION", "RunFolder", "report", "report_corpus", "stage_of"]
