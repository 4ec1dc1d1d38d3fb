"""The report: results as one HTML page that opens from disk, and its charts as figures for papers."""
