"""Reads for lists, exports and statistics: pages, cursors, the data version, the queue and the ledger."""
