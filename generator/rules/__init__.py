"""Rules: conditions, the regex language, requests as nginx sees them, and who wins."""
