"""People, teams, roles and who changed what."""
