"""The only room with SQL. Functions take a connection first and never commit; the flows own the transactions."""
