"""What every scenario does with a cell: prepare its images and base model, split it, measure what that costs."""
