"""All SQL. Functions take a connection, return values and never commit."""
