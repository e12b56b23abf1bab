"""Run folders in; statistics, figures and the report out."""
