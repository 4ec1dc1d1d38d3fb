"""Where images come from: files, Parquet, scikit-learn, torchvision."""
