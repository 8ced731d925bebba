"""Reports, exports and invoices: the pages of finance."""
