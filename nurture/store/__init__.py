"""REMEMBERS. The only place with SQL. Functions get a connection, return values and never commit."""
