"""The page that compares runs: scores, differences, labels, and the people whose outcome changed most."""
