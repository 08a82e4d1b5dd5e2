"""What every endpoint shares: how it refuses, pages, counts, and answers the same question twice."""
