"""The sweep file: what is searched, for which objectives, within which budget."""
