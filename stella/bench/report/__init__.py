"""What a run found, for people: a self-contained page, pictures, and a table for the terminal. Made from the files of a run alone."""

from stella.bench.report.page import write_report
from stella.bench.report.sections import text_table

__all__ = ["text_table", "write_report"]
