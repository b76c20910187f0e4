"""Result tables, their files, and the comparison of runs."""
