"""The small CNN of the relevance-dynamics posts, for 32×32 images."""

from collections import OrderedDict

from torch import nn


def blog_cnn(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Two convolutions, one max-pool and two dense layers: (N, C, 32, 32) to (N, n_classes) logits."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 16, kernel_size=3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, kernel_size=3, stride=2),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(32 * 7 * 7, 512),
            relu3=nn.ReLU(),
            fc2=nn.Linear(512, n_classes),
        )
    )
