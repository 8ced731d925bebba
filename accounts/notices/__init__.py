"""What administrators, leads and owners are told: events, who hears of them, in which form, and the sending."""
