"""What lists, exports and statistics are made of: pages, cursors, versions, and what waits in the queue."""
