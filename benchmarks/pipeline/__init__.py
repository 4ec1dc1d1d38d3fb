"""What every scenario does with a cell: prepare images and base model, split it, measure the cost."""
