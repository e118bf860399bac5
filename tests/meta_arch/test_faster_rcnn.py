"""Faster R-CNN's border: black in training, and the same picture as ever in inference."""

import torch

from repro.meta_arch.faster_rcnn import BlackBorderFasterRCNN, example


def bordered():
    torch.manual_seed(0)
    model = example()
    model.__class__ = BlackBorderFasterRCNN
    return model


def test_an_images_own_border_is_black_and_what_others_add_is_the_mean():
    model = bordered()
    sizes = [(40, 70), (96, 64)]
    batch = [{"image": torch.full((3, *size), 200, dtype=torch.uint8)} for size in sizes]
    images = model.preprocess_image(batch)
    assert images.image_sizes == sizes and images.tensor.shape[-2:] == (96, 96)
    first = images.tensor[0] * model.pixel_std + model.pixel_mean  # as pixels again
    wanted = model.pixel_mean.expand(3, 96, 96).clone()
    wanted[:, :64, :96] = 0  # 40 is padded to 64, 70 to 96
    wanted[:, :40, :70] = 200
    torch.testing.assert_close(first, wanted)
    assert (images.tensor[1, :, :, 64:] == 0).all()  # 96×64 needs no border of its own


def test_inference_is_that_of_the_plain_detector():
    model = bordered().eval()
    batch = [{"image": torch.randint(0, 256, (3, 40, 70), dtype=torch.uint8), "height": 40, "width": 70}]
    found = model(batch)[0]["instances"]
    model.__class__ = type(example())
    plain = model(batch)[0]["instances"]
    assert len(plain) and torch.equal(found.scores, plain.scores)
