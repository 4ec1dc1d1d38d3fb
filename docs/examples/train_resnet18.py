"""Ordinary torch code that trains a torchvision ResNet-18 on scikit-learn's digits and saves its state dict.

It stands for the network that you have trained somewhere else: nothing in it belongs to Splitbench.

    python docs/examples/train_resnet18.py resnet18.pth
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms.v2 import functional

MEAN, STD, EPOCHS, BATCH = 0.5, 0.5, 6, 32


def training_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return float images [sample, 3, 32, 32], normalised, and labels; every fifth of a class is left for a test."""
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    rank_in_class = torch.zeros_like(labels)
    for label in labels.unique():
        rank_in_class[labels == label] = torch.arange(int((labels == label).sum()))
    kept = rank_in_class % 5 != 4
    grey = (pixels[kept].view(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
    images = functional.resize(grey, [32, 32], antialias=True).expand(-1, 3, -1, -1)
    return (images / 255 - MEAN) / STD, labels[kept].long()


def main(path: str) -> None:
    """Train for a minute or two on a CPU, and save the weights."""
    torch.manual_seed(0)
    images, labels = training_images()
    model = resnet18(num_classes=10).to(memory_format=torch.channels_last)
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=steps)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH)[: steps // EPOCHS]:
            shifted = torch.roll(images[batch], tuple(torch.randint(-3, 4, (2,)).tolist()), dims=(2, 3))
            loss = nn.functional.cross_entropy(model(shifted), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    torch.save(model.state_dict(), path)


if __name__ == "__main__":
    main(sys.argv[1])
