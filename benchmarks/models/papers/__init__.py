"""The base models of the papers and a small one."""
