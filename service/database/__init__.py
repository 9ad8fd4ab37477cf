"""SQL databases: engines, table revisions and error texts, for the rooms that keep tables."""
