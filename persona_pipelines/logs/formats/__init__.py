"""One reader a format. Each gives a DuckDB query over a file's records with the fields that the mapping asks for as text."""
