"""Train the network with ordinary torch code and save a checkpoint, as training scripts do; takes about 20 s."""

from pathlib import Path

import torch
from my_net import net
from sklearn.datasets import load_digits
from torch.nn import functional as F

MEAN, STD = 0.3053, 0.3763


def main() -> None:
    """Train on the digits of scikit-learn and write ``my_net.pth`` beside this file."""
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    images = (pixels.float().view(-1, 1, 8, 8) / 16 - MEAN) / STD
    model = net()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    torch.save({"epoch": 10, "state_dict": model.state_dict()}, Path(__file__).with_name("my_net.pth"))


if __name__ == "__main__":
    main()
