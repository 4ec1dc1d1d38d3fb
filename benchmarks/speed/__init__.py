"""How fast the parts are that decide how long a split takes, against plain references."""
