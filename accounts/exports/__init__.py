"""What leaves the books as files: calls, reports, FOCUS, statements, and the export of each month."""
