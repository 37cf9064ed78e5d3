"""The report of a run: one self-contained HTML file, written without the network."""

from se_probe.recording.run_folder import REPORT
from se_probe.report.figures import ReportFigure
from se_probe.report.section import Section
from se_probe.report.thumbnails import Thumbnails, make_thumbnails
from se_probe.report.write import report_html, write_report

__all__ = ["REPORT", "ReportFigure", "Section", "Thumbnails", "make_thumbnails", "report_html", "write_report"]
