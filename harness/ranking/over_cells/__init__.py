"""Methods compared over several cells: mean ranks, interquartile means, and how often one beats another."""
