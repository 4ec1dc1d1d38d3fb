"""The report's charts, as Vega-Lite specifications; a file per subject."""
