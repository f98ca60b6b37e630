"""Ways to reach the other parties: one file each."""
