import torch
from torch import nn

from repro.layers.conv_norm import RepVGGBlock


def test_one_convolution_does_what_two_did():
    torch.manual_seed(0)
    block = RepVGGBlock(6).double()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = block.eval()(x)
    block.fuse()
    block.fuse()  # nothing is left to do
    assert [name for name, _ in block.named_parameters()] == ["conv.weight", "conv.bias"]
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
