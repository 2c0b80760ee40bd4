"""One file for each act. The flows own the transactions: none is open while a stranger thinks."""
