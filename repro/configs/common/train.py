"""How long to train, and what is done in each step. The authors' settings for COCO unless said otherwise."""

train = dict(
    epochs=50,
    lr_drops=[40],  # epochs after which the rate falls to a tenth
    iterations=None,  # steps, in place of epochs; how scales shorten a run
    clip_norm=0.1,  # of all gradients together
    amp=False,  # published in single precision
    ema=None,  # decay of averaged weights
    checkpoint_period=1000,  # steps; ours
    log_period=20,  # steps; ours
)

# Ours: a run that is cut short needs the rate to fall, or its score hangs on its last few steps.
scales = {
    "small": {"train.epochs": 100, "train.lr_drops": [80], "train.checkpoint_period": 200},
    "smoke": {"train.iterations": 2, "train.log_period": 1},
}
