"""What is asked: bridges and mounts decoded, their targets resolved, and what cannot stand refused."""
