"""The tables of a page as files for papers and spreadsheets: CSV and LaTeX."""
