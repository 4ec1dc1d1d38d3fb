"""Images and their roles: data sets, tasks made of their classes, what fits and what scores."""
